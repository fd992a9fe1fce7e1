#pragma once
// Pixels that a task will need next, asked for while it still computes on others: a convolution's
// products leave the memory idle, its transforms wait for it.
#include <cstdint>

#include "runtime/tensor.h"

namespace tiller {

/// An image batch [N,H,W,C] of f32 as its pixels lie: the tensor's accessors, read once.
struct Pixels {
  float* data = nullptr;
  std::int64_t height = 0, width = 0, channels = 0, stride = 0;

  Pixels() = default;
  explicit Pixels(const Tensor& t) {
    if (!t) return;
    data = static_cast<float*>(t.raw());
    height = t.dim(1), width = t.dim(2), channels = t.cols(), stride = t.row_stride();
  }
  float* row(std::int64_t index) const { return data + index * stride; }

  /// Brings a block of pixels, cut off at the image's edge, into the cache; to be written if `kWrite`.
  template <bool kWrite = false>
  void fetch(std::int64_t n, std::int64_t top, std::int64_t left, std::int64_t size) const {
    constexpr std::int64_t kLine = 16;  // floats
    const std::int64_t down = top + size < height ? size : height - top;
    const std::int64_t across = left + size < width ? size : width - left;
    asm volatile("");  // GCC takes a function that only fetches for one that does nothing
    for (std::int64_t i = 0; i < down; ++i) {
      const float* pixel = row((n * height + top + i) * width + left);
      for (std::int64_t j = 0; j < across; ++j, pixel += stride)
        for (std::int64_t c = 0; c < channels; c += kLine) __builtin_prefetch(pixel + c, kWrite);
    }
  }
};

}  // namespace tiller
