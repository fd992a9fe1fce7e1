#include "tools/data/crop.h"

#include <algorithm>
#include <cmath>

#include "tools/data/resample.h"

namespace tiller {

namespace {

struct Size {
  std::int64_t height, width;
  std::int64_t shorter() const { return std::min(height, width); }
};

// The sizes that a picture goes through on its way to `shorter`: halvings, then the last one.
bool halves(const Size& size, std::int64_t shorter) { return size.shorter() >= 2 * shorter; }

Size half(const Size& size) { return {size.height / 2, size.width / 2}; }

Size scaled(const Size& size, std::int64_t shorter) {
  const double scale = static_cast<double>(shorter) / static_cast<double>(size.shorter());
  // Python's round(): halves go to the even neighbour, as nearbyint's do.
  const auto side = [&](std::int64_t n) {
    return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(n) * scale));
  };
  return {side(size.height), side(size.width)};
}

Size final_size(Size size, std::int64_t shorter) {
  while (halves(size, shorter)) size = half(size);
  return scaled(size, shorter);
}

void check(std::int64_t height, std::int64_t width, std::int64_t size) {
  TILLER_CHECK(height >= 1 && width >= 1 && size >= 1,
               "crop: a picture of {}x{} cannot become one of {}x{}", width, height, size, size);
}

}  // namespace

CropPlace center_place(std::int64_t height, std::int64_t width, std::int64_t size) {
  check(height, width, size);
  const Size s = final_size({height, width}, size);
  return {size, (s.height - size) / 2, (s.width - size) / 2};
}

CropPlace random_place(std::int64_t height, std::int64_t width, std::int64_t size,
                       const PhiloxWords& words) {
  check(height, width, size);
  const auto largest = static_cast<std::int64_t>(std::ceil(static_cast<double>(size) / 0.8));
  const auto below = [](std::uint32_t word, std::int64_t bound) {
    return static_cast<std::int64_t>(integer_of(word, static_cast<std::uint32_t>(bound)));
  };
  const std::int64_t shorter = size + below(words.v[0], largest - size + 1);
  const Size s = final_size({height, width}, shorter);
  return {shorter, below(words.v[1], s.height - size + 1), below(words.v[2], s.width - size + 1)};
}

Tensor crop(const Tensor& picture, std::int64_t size, const CropPlace& place) {
  TILLER_CHECK(picture.dtype() == DType::u8 && picture.rank() == 3,
               "crop: {} is no picture u8[H,W,C]", to_string(picture));
  check(picture.dim(0), picture.dim(1), size);
  Tensor p = picture;
  for (Size s{p.dim(0), p.dim(1)}; halves(s, place.shorter); s = {p.dim(0), p.dim(1)})
    p = resample(p, half(s).height, half(s).width, Filter::box);
  const Size s = scaled({p.dim(0), p.dim(1)}, place.shorter);
  return resample(p, s.height, s.width, Filter::bicubic, {place.top, place.left, size, size});
}

Tensor center_crop(const Tensor& picture, std::int64_t size) {
  return crop(picture, size, center_place(picture.dim(0), picture.dim(1), size));
}

Tensor random_crop(const Tensor& picture, std::int64_t size, const PhiloxWords& words) {
  return crop(picture, size, random_place(picture.dim(0), picture.dim(1), size, words));
}

}  // namespace tiller
