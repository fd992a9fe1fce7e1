#pragma once
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// How far an array is from its reference.
struct Comparison {
  std::string name;
  std::string shape;
  double max_absolute = 0;  ///< largest |ours - theirs|
  double relative_l2 = 0;   ///< ||ours - theirs|| / ||theirs||; infinite when a value is not finite
  bool passed = false;      ///< relative_l2 <= tolerance
};

/// Compares two floating host tensors. Throws Error(checkpoint) when their shapes differ, naming `name`.
Comparison compare(const std::string& name, const Tensor& ours, const Tensor& theirs,
                   double tolerance);

/// A table with one row per comparison.
std::string comparison_table(const std::vector<Comparison>& comparisons);

/// The same as a JSON array.
std::string comparison_json(const std::vector<Comparison>& comparisons);

}  // namespace tiller
