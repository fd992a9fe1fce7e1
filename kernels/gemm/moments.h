#pragma once
// Statistics that a product leaves behind for the group norm that follows it.
#include <span>
#include <vector>

#include "runtime/tensor.h"

namespace tiller {

/// Mean and squared deviations of one part of an image's pixels: [images][parts][2][columns]
/// floats.
struct Moments {
  const float* data;
  std::int64_t columns;       ///< padded
  std::vector<float> counts;  ///< pixels of each part
};

/// Writes the mean and the sum of squared deviations of `rows` rows of `values`, `stride` floats
/// apart, to mean[0, width) and m2[0, width). width is at most 32.
void row_moments(const float* values, std::int64_t stride, std::int64_t rows, std::int64_t width,
                 float* mean, float* m2);

/// Merges the parts of each image (of the phases of one output, if there are several) into stats
/// [N,K,2], in a fixed order (Chan, Golub & LeVeque 1979).
void merge_moments(std::span<const Moments> phases, const Tensor& stats);

}  // namespace tiller
