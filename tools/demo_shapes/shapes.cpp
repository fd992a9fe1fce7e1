#include "tools/demo_shapes/shapes.h"

#include <algorithm>
#include <cmath>

#include "runtime/random.h"

namespace tiller::demo {

namespace {

using Colour = std::array<float, 3>;

constexpr std::array<Colour, kClasses> kColours = {{{0.92f, 0.22f, 0.20f},
                                                    {0.20f, 0.75f, 0.30f},
                                                    {0.22f, 0.42f, 0.95f},
                                                    {0.95f, 0.82f, 0.20f},
                                                    {0.88f, 0.28f, 0.82f},
                                                    {0.20f, 0.82f, 0.88f}}};

// How far (x, y) lies outside the shape of `label` that has radius r around the origin, in pixels;
// negative inside. y points down. Near the edge it is the distance, which is all that is looked at.
float outside(std::int64_t label, float x, float y, float r) {
  const float ax = std::abs(x), ay = std::abs(y);
  switch (label) {
    case 0:  // disc
      return std::sqrt(x * x + y * y) - r;
    case 1: {  // triangle: below both slopes from the apex (0, -r), above the base
      const float slope = (1.8f * ax - (y + r)) / std::sqrt(1.8f * 1.8f + 1);
      return std::max(slope, y - 0.9f * r);
    }
    case 2:  // square
      return std::max(ax, ay) - 0.85f * r;
    case 3:  // ring
      return std::abs(std::sqrt(x * x + y * y) - 0.78f * r) - 0.26f * r;
    case 4:  // cross: a lying bar and a standing one
      return std::min(std::max(ax - r, ay - 0.34f * r), std::max(ay - r, ax - 0.34f * r));
    default:  // diamond
      return (ax + ay - 1.15f * r) / std::sqrt(2.f);
  }
}

void draw_one(std::uint64_t seed, std::int64_t index, std::int64_t label, float* out) {
  std::array<float, 8> u{};  // in [0, 1)
  philox_uniform(
      {.seed = seed, .sample = static_cast<std::uint32_t>(index), .stream = RandomStream::loader},
      u.size(), u.data());
  const float radius = 4.4f + 1.6f * u[0];
  const float cx = 0.5f * kSide + 3 * u[1] - 1.5f;
  const float cy = 0.5f * kSide + 3 * u[2] - 1.5f;
  const float background = 0.06f + 0.16f * u[3];
  Colour colour = kColours[static_cast<std::size_t>(label)];
  for (std::size_t c = 0; c < 3; ++c) colour[c] += 0.1f * u[4 + c] - 0.05f;
  for (std::int64_t row = 0; row < kSide; ++row)
    for (std::int64_t column = 0; column < kSide; ++column) {
      const float d = outside(label, static_cast<float>(column) + 0.5f - cx,
                              static_cast<float>(row) + 0.5f - cy, radius);
      // A pixel is covered in proportion to how deep the edge cuts into it.
      const float cover = std::clamp(0.5f - d, 0.f, 1.f);
      for (const float c : colour) *out++ = 2 * (background + cover * (c - background)) - 1;
    }
}

}  // namespace

Shapes draw_shapes(std::uint64_t seed, std::int64_t first, std::int64_t n) {
  Shapes shapes{Tensor::empty({n, kSide, kSide, 3}), Tensor::empty({n}, DType::i64)};
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t label = (first + i) % kClasses;
    shapes.labels.data<std::int64_t>()[i] = label;
    draw_one(seed, first + i, label, shapes.x.data<float>() + i * kSide * kSide * 3);
  }
  return shapes;
}

}  // namespace tiller::demo
