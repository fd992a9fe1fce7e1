#pragma once
// The demo's data: coloured shapes, drawn on the fly, so that no picture is ever seen twice.
#include <array>
#include <cstdint>
#include <string_view>

#include "runtime/tensor.h"

namespace tiller::demo {

constexpr std::int64_t kSide = 16;  ///< pixels
constexpr std::int64_t kClasses = 6;

/// Classes differ in shape and in colour, so that a person sees at a glance what was drawn.
constexpr std::array<std::string_view, kClasses> kClassNames = {
    "red disc", "green triangle", "blue square", "yellow ring", "magenta cross", "cyan diamond"};

/// Pictures and what they show.
struct Shapes {
  Tensor x;       // [N,kSide,kSide,3] f32 in [-1,1]
  Tensor labels;  // [N] i64
};

/// Pictures first .. first + n - 1 of the endless series of `seed`; picture i shows class i mod
/// kClasses. Position, size, colour and background vary; picture i is the same in any batch.
Shapes draw_shapes(std::uint64_t seed, std::int64_t first, std::int64_t n);

}  // namespace tiller::demo
