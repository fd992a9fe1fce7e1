#pragma once
// Which inputs make an output of a resampling along one side, and with which weights.
#include "kernels/resample/kinds.h"
// Last, because of its keywords.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Input indices first ... last that make one output index, and their weights. All weights are
/// alike, but for bilinear, which has at most two taps.
struct Taps {
  int first, last;
  float low, high;  // of `first` and of those behind it
};

__device__ __forceinline__ Taps taps_of(ResampleKind kind, int in, int out, int index) {
  if (kind == ResampleKind::nearest_up2x) return {index / 2, index / 2, 1.0f, 1.0f};
  if (kind == ResampleKind::mean_pool2x2) return {2 * index, 2 * index + 1, 0.5f, 0.5f};
  if (kind == ResampleKind::area) {
    const auto first = static_cast<int>(std::int64_t{index} * in / out);
    const auto end = static_cast<int>((std::int64_t{index + 1} * in + out - 1) / out);
    const float weight = 1.0f / static_cast<float>(end - first);
    return {first, end - 1, weight, weight};
  }
  // Pixel centres of a grid of `out` cells laid over `in` cells (align_corners=False). In f64,
  // because a coordinate's rounding would be the weight's.
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  double at = (index + 0.5) * scale - 0.5;
  if (at < 0) at = 0;
  int low = static_cast<int>(at);
  if (low > in - 1) low = in - 1;
  const double high = low + 1 < in ? at - low : 0;
  if (high == 0) return {low, low, 1.0f, 0.0f};
  return {low, low + 1, static_cast<float>(1 - high), static_cast<float>(high)};
}

__device__ __forceinline__ float weight_of(const Taps& taps, int index) {
  if (index < taps.first || index > taps.last) return 0.0f;
  return index == taps.first ? taps.low : taps.high;
}

/// Outputs first ... last are all that may have `index` among their taps.
__device__ __forceinline__ void outputs_of(ResampleKind kind, int in, int out, int index,
                                           int& first, int& last) {
  if (kind == ResampleKind::nearest_up2x) {
    first = 2 * index;
    last = first + 1;
    return;
  }
  if (kind == ResampleKind::mean_pool2x2) {
    first = last = index / 2;
    return;
  }
  const double scale = static_cast<double>(out) / static_cast<double>(in);
  first = static_cast<int>((index - 1) * scale) - 1;
  last = static_cast<int>((index + 2) * scale) + 1;
  first = first < 0 ? 0 : first;
  last = last > out - 1 ? out - 1 : last;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
