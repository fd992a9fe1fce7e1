#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace tiller {

/// The classes of a run: --classes.
class ClassChoice {
 public:
  /// "random", "all", or numbers and names with commas between. `names` may be empty. Throws
  /// Error(usage) for a class that there is not, naming the range or the nearest name.
  static ClassChoice parse(const std::string& text, std::int64_t num_classes,
                           const std::vector<std::string>& names = {});

  bool random() const { return cycle_.empty(); }
  std::int64_t num_classes() const { return num_classes_; }
  /// The class of sample `index` of the whole run: entry index modulo their number of the list, or
  /// drawn by Philox from the seed, whatever the batch.
  std::int64_t label(std::int64_t index, std::uint64_t seed) const;

 private:
  std::int64_t num_classes_ = 0;
  std::vector<std::int64_t> cycle_;  // empty: random
};

}  // namespace tiller
