#pragma once
// A row is measured only when it computes the right thing.
#include <map>
#include <set>
#include <string>

#include "bench/case.h"

namespace tiller::bench {

/// Holds rows against the f64 reference where that takes a moment. Where it would take minutes,
/// against a row that has passed this test on a smaller call of the same operation.
class Checked {
 public:
  /// "" when the row is right on this call, else what is wrong.
  std::string operator()(Case& call, const std::string& row);

 private:
  std::map<std::string, std::set<std::string>> passed_;  // rows of each operation
};

}  // namespace tiller::bench
