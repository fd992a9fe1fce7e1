// The font of stb_easy_font, whose letters are horizontal and vertical strokes: quads that fill
// whole pixels.
#include "tools/pictures/text.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb_easy_font.h>
#pragma GCC diagnostic pop

namespace tiller {

namespace {

constexpr std::int64_t kLine = 12;  // the font's height of a line in dots

// One '?' for each character that the font lacks; the bytes that continue one in UTF-8 vanish.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0u) == 0x80u) continue;
    out += byte == '\n' || (byte >= 32 && byte < 127) ? c : '?';
  }
  return out;
}

struct Vertex {
  float x, y, z;
  unsigned char colour[4];
};

}  // namespace

TextSize text_size(std::string_view text, std::int64_t scale) {
  std::string line = printable(text);
  const auto lines = 1 + std::count(line.begin(), line.end(), '\n');
  return {stb_easy_font_width(line.data()) * scale, lines * kLine * scale};
}

void draw_text(const Tensor& canvas, std::int64_t x, std::int64_t y, std::string_view text,
               Colour colour, std::int64_t scale) {
  TILLER_CHECK(canvas.rank() == 3 && canvas.dim(2) == 3 && canvas.dtype() == DType::u8,
               "draw_text: {} is not u8[H,W,3]", to_string(canvas));
  std::string line = printable(text);
  std::vector<Vertex> vertices(line.size() * 80);  // a letter takes about 270 bytes
  const int quads = stb_easy_font_print(0, 0, line.data(), nullptr, vertices.data(),
                                        static_cast<int>(vertices.size() * sizeof(Vertex)));
  const std::int64_t height = canvas.dim(0), width = canvas.dim(1);
  auto* pixels = canvas.data<std::uint8_t>();
  for (int q = 0; q < quads; ++q) {
    // Corners clockwise from the upper left: the first and the third span the rectangle.
    const Vertex& a = vertices[static_cast<std::size_t>(q) * 4];
    const Vertex& b = vertices[static_cast<std::size_t>(q) * 4 + 2];
    const auto at = [&](float dots) { return std::lround(dots) * scale; };
    for (std::int64_t py = std::max<std::int64_t>(0, y + at(a.y));
         py < std::min<std::int64_t>(height, y + at(b.y)); ++py)
      for (std::int64_t px = std::max<std::int64_t>(0, x + at(a.x));
           px < std::min<std::int64_t>(width, x + at(b.x)); ++px)
        std::copy(colour.begin(), colour.end(), pixels + (py * width + px) * 3);
  }
}

}  // namespace tiller
