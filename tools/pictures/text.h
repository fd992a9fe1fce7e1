#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "runtime/tensor.h"

namespace tiller {

using Colour = std::array<std::uint8_t, 3>;  // red, green, blue

/// Width and height in pixels of a text, '\n' starting a new line.
struct TextSize {
  std::int64_t width = 0, height = 0;
};
TextSize text_size(std::string_view text, std::int64_t scale = 1);

/// Draws a text with its upper left corner at (x, y), every dot of the font a square of `scale`
/// pixels; what leaves the canvas is cut off. Characters beyond ASCII show as '?'. canvas u8
/// [H,W,3] on the host.
void draw_text(const Tensor& canvas, std::int64_t x, std::int64_t y, std::string_view text,
               Colour colour, std::int64_t scale = 1);

}  // namespace tiller
