#pragma once
// Moments of a part of an image, and how two parts are put together.
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Of some pixels of one channel: how many, their mean, the sum of squared deviations from it.
struct Moments {
  float count, mean, m2;
};

/// Chan, Golub & LeVeque (1979).
__device__ __forceinline__ Moments merge(const Moments& a, const Moments& b) {
  if (b.count == 0.0f) return a;
  if (a.count == 0.0f) return b;
  const float count = a.count + b.count, d = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + d * share, a.m2 + b.m2 + d * d * a.count * share};
}

/// How many of a chunk's `pixels` row `row` of `rows` sees: row, row + rows, ...
__device__ __forceinline__ float seen_pixels(std::int64_t pixels, int row, int rows) {
  return pixels > row ? static_cast<float>((pixels - row + rows - 1) / rows) : 0.0f;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
