#include "tools/pictures/pixels.h"

#include <vector>

namespace tiller {

Tensor to_pixels(const Tensor& x) {
  std::vector<std::uint8_t> pixels;
  pixels.reserve(static_cast<std::size_t>(x.numel()));
  for (const float value : x.to_vector<float>()) {
    const float scaled = (value + 1) * 127.5f;
    // Written so that NaN takes the first branch: converting it would be undefined.
    pixels.push_back(!(scaled > 0)   ? std::uint8_t{0}
                     : scaled >= 255 ? std::uint8_t{255}
                                     : static_cast<std::uint8_t>(scaled));
  }
  return Tensor::from(pixels, x.shape());
}

Tensor from_pixels(const Tensor& pixels) {
  std::vector<float> x;
  x.reserve(static_cast<std::size_t>(pixels.numel()));
  for (const std::uint8_t p : pixels.to_vector<std::uint8_t>())
    x.push_back(static_cast<float>(p) / 127.5f - 1);
  return Tensor::from(x, pixels.shape());
}

}  // namespace tiller
