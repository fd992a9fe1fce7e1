#pragma once
// PIL's Image.resize for 8-bit pictures.
#include <cstdint>

#include "runtime/tensor.h"

namespace tiller {

/// How a pixel is made of its neighbours: all alike, or by Keys' cubic with a = -1/2 (1981, "Cubic
/// convolution interpolation for digital image processing").
enum class Filter : std::uint8_t { box, bicubic };

/// A part of a picture, in pixels.
struct Window {
  std::int64_t top = 0, left = 0, height = 0, width = 0;
};

/// The part `window` of `picture` scaled to height x width: PIL's Image.resize bit for bit, of
/// which only the pixels within the window are computed. Shrinking widens the filter, so that every
/// pixel counts. picture u8 [H,W,C] on the host -> u8 [window.height,window.width,C]. Throws Error
/// for a size below 1 or a window that leaves the scaled picture.
Tensor resample(const Tensor& picture, std::int64_t height, std::int64_t width, Filter filter,
                const Window& window);
/// All of the scaled picture: u8 [H,W,C] -> u8 [height,width,C].
Tensor resample(const Tensor& picture, std::int64_t height, std::int64_t width, Filter filter);

}  // namespace tiller
