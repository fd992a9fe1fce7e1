#pragma once
// Where the pixels of a batch of images lie.
#include <cstdint>

#include "runtime/tensor.h"

namespace tiller {

/// A batch of images [N,H,W,C] of f32, or every second pixel of one: a tensor's accessors, read once.
/// All distances are in floats.
struct Pixels {
  float* data = nullptr;
  std::int64_t height = 0, width = 0, channels = 0;
  std::int64_t image = 0, line = 0, pixel = 0;  ///< from one to the next

  Pixels() = default;
  explicit Pixels(const Tensor& t) {
    if (!t) return;
    data = static_cast<float*>(t.raw());
    height = t.dim(1), width = t.dim(2), channels = t.cols();
    pixel = t.row_stride(), line = width * pixel, image = height * line;
  }

  /// Every second pixel down and across, from (top, left) on. Height and width must be even.
  Pixels phase(std::int64_t top, std::int64_t left) const {
    Pixels p = *this;
    if (!data) return p;
    p.data += top * line + left * pixel;
    p.height /= 2, p.width /= 2, p.line *= 2, p.pixel *= 2;
    return p;
  }

  float* at(std::int64_t n, std::int64_t h, std::int64_t w) const {
    return data + n * image + h * line + w * pixel;
  }

  /// Asks for a square of pixels, cut off at the image's edge, before it is read, or written if
  /// `kWrite`: a convolution's products leave the memory idle, its transforms wait for it.
  template <bool kWrite = false>
  void fetch(std::int64_t n, std::int64_t top, std::int64_t left, std::int64_t size) const {
    constexpr std::int64_t kLine = 16;  // of the cache
    asm volatile("");  // GCC takes a function that only fetches for one that does nothing
    const std::int64_t down = top + size < height ? size : height - top;
    const std::int64_t across = left + size < width ? size : width - left;
    for (std::int64_t i = 0; i < down; ++i)
      for (std::int64_t j = 0; j < across; ++j)
        for (std::int64_t c = 0; c < channels; c += kLine)
          __builtin_prefetch(at(n, top + i, left + j) + c, kWrite);
  }
};

}  // namespace tiller
