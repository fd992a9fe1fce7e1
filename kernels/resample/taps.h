#pragma once
// Every way of resampling is separable: an output row is a weighted sum of a few input rows, and so
// for columns. An axis lists them, one list per output index; the backward is the transposed list.
#include <vector>

#include "kernels/resample/resample.h"

namespace tiller {

/// One input index and its weight.
struct Tap {
  std::int64_t index;
  double weight;
};

/// The taps of every output index along one dimension.
struct Axis {
  std::vector<std::vector<Tap>> taps;
  bool mean = false;  ///< the result is divided by the number of taps (their weights are 1)
};

/// How `out` indices are made from `in` indices in the forward.
Axis forward_axis(ResampleKind kind, std::int64_t in, std::int64_t out);

/// How the gradient of `in` indices is made from the gradient of `out` indices.
Axis backward_axis(ResampleKind kind, std::int64_t in, std::int64_t out);

}  // namespace tiller
