#pragma once
// Something to draw a chart on: SVG text or pixels.
#include <memory>
#include <span>
#include <string>

#include "runtime/tensor.h"
#include "tools/pictures/text.h"

namespace tiller {

struct Point {
  double x = 0, y = 0;  // from the upper left corner, in SVG's pixels
};

struct Stroke {
  Colour colour = {0, 0, 0};
  double width = 1;
  int dash = 0;        ///< 0 a full line; others differ from each other, four in turn
  double opacity = 1;  ///< 0 to 1
};

/// The lengths drawn and left out in turn, for SVG's stroke-dasharray; empty for a full line.
std::span<const double> dash_pattern(int dash);

enum class Anchor : std::uint8_t { start, middle, end };

class Canvas {
 public:
  virtual ~Canvas() = default;
  virtual void line(std::span<const Point> points, const Stroke& stroke) = 0;
  virtual void dot(Point at, double radius, const Stroke& stroke) = 0;
  /// One line of text whose letters stand on at.y. `size` is their height, 12 or 24.
  virtual void text(Point at, const std::string& text, Anchor anchor, int size, Colour colour) = 0;
  /// About how wide a text of size 12 is.
  virtual double text_width(const std::string& text) const = 0;
  /// Writes the file, atomically. Throws Error(failed).
  virtual void write(const std::string& path) const = 0;
};

/// An SVG 1.1 document on white.
std::unique_ptr<Canvas> svg_canvas(int width, int height);
/// A PNG of twice as many pixels on white, with smooth lines.
std::unique_ptr<Canvas> pixel_canvas(int width, int height);

}  // namespace tiller
