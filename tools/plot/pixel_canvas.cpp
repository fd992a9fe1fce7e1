// Lines as pixels: how much of a pixel a line covers is taken from the distance between its middle
// and the line.
#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/files/image.h"
#include "tools/plot/canvas.h"

namespace tiller {

namespace {

constexpr int kScale = 2;  // pixels to one of SVG's

class PixelCanvas final : public Canvas {
 public:
  PixelCanvas(int width, int height)
      : pixels_(Tensor::empty({height * kScale, width * kScale, 3}, DType::u8)) {
    std::fill_n(pixels_.data<std::uint8_t>(), pixels_.numel(), std::uint8_t{255});
    coverage_.resize(static_cast<std::size_t>(pixels_.dim(0) * pixels_.dim(1)));
    forget_bounds();
  }

  void line(std::span<const Point> points, const Stroke& stroke) override {
    const std::span<const double> pattern = dash_pattern(stroke.dash);
    double walked = 0;  // along the line, which the pattern goes on along
    for (std::size_t i = 1; i < points.size(); ++i) {
      const Point a = points[i - 1], b = points[i];
      const double length = std::hypot(b.x - a.x, b.y - a.y);
      const auto at = [&](double s) {
        return Point{a.x + (b.x - a.x) * s / length, a.y + (b.y - a.y) * s / length};
      };
      if (pattern.empty()) {
        cover(a, b, stroke.width);
      } else {
        for (double s = 0; s < length;) {
          const auto [drawn, left] = within(pattern, walked + s);
          const double end = std::min(length, s + left);
          if (drawn) cover(at(s), at(end), stroke.width);
          s = end;
        }
      }
      walked += length;
    }
    blend(stroke);
  }

  void dot(Point at, double radius, const Stroke& stroke) override {
    cover(at, at, 2 * radius);
    blend(stroke);
  }

  void text(Point at, const std::string& text, Anchor anchor, int size, Colour colour) override {
    const std::int64_t scale = size / 12 * kScale;
    const auto width = static_cast<double>(text_size(text, scale).width);
    const double shift = anchor == Anchor::start ? 0 : anchor == Anchor::middle ? 0.5 : 1.0;
    constexpr double kAscent = 8;  // dots from a letter's top to the line that it stands on
    draw_text(pixels_, std::lround(at.x * kScale - shift * width),
              std::lround(at.y * kScale - kAscent * static_cast<double>(scale)), text, colour,
              scale);
  }

  double text_width(const std::string& text) const override {
    return static_cast<double>(text_size(text, 1).width);
  }

  void write(const std::string& path) const override { write_png(path, pixels_); }

 private:
  // Whether the pattern draws at this length, and how far it goes on so.
  static std::pair<bool, double> within(std::span<const double> pattern, double length) {
    double period = 0;
    for (const double part : pattern) period += part;
    double rest = std::fmod(length, period);
    for (std::size_t i = 0; i < pattern.size(); ++i) {
      if (rest < pattern[i]) return {i % 2 == 0, std::max(pattern[i] - rest, 1e-6)};
      rest -= pattern[i];
    }
    return {true, pattern[0]};
  }

  // Notes how much of each pixel lies within width / 2 of the piece from a to b.
  void cover(Point a, Point b, double width) {
    const double ax = a.x * kScale, ay = a.y * kScale;
    const double dx = (b.x - a.x) * kScale, dy = (b.y - a.y) * kScale;
    const double squared = dx * dx + dy * dy, half = width * kScale / 2;
    const auto range = [&](double from, double along, std::int64_t size) {
      const double low = std::min(from, from + along) - half - 1;
      const double high = std::max(from, from + along) + half + 1;
      return std::pair{static_cast<std::int64_t>(std::max(low, 0.0)),
                       std::min(static_cast<std::int64_t>(std::max(high, 0.0)), size - 1)};
    };
    const auto [top, bottom] = range(ay, dy, pixels_.dim(0));
    const auto [left, right] = range(ax, dx, pixels_.dim(1));
    top_ = std::min(top_, top);
    bottom_ = std::max(bottom_, bottom);
    left_ = std::min(left_, left);
    right_ = std::max(right_, right);
    for (std::int64_t y = top; y <= bottom; ++y)
      for (std::int64_t x = left; x <= right; ++x) {
        const double px = static_cast<double>(x) + 0.5 - ax, py = static_cast<double>(y) + 0.5 - ay;
        const double along = squared > 0 ? std::clamp((px * dx + py * dy) / squared, 0.0, 1.0) : 0;
        const double distance = std::hypot(px - along * dx, py - along * dy);
        auto& covered = coverage_[static_cast<std::size_t>(y * pixels_.dim(1) + x)];
        covered =
            std::max(covered, static_cast<float>(std::clamp(half + 0.5 - distance, 0.0, 1.0)));
      }
  }

  void blend(const Stroke& stroke) {
    for (std::int64_t y = top_; y <= bottom_; ++y)
      for (std::int64_t x = left_; x <= right_; ++x) {
        const std::int64_t at = y * pixels_.dim(1) + x;
        const double share =
            static_cast<double>(coverage_[static_cast<std::size_t>(at)]) * stroke.opacity;
        coverage_[static_cast<std::size_t>(at)] = 0;
        std::uint8_t* pixel = pixels_.data<std::uint8_t>() + at * 3;
        for (std::size_t c = 0; c < 3; ++c)
          pixel[c] = static_cast<std::uint8_t>(
              std::lround(pixel[c] * (1 - share) + stroke.colour[c] * share));
      }
    forget_bounds();
  }

  void forget_bounds() {
    top_ = pixels_.dim(0);
    left_ = pixels_.dim(1);
    bottom_ = right_ = -1;
  }

  Tensor pixels_;                // [H,W,3] u8
  std::vector<float> coverage_;  // [H,W] of the line at hand, so that its joints are not darker
  std::int64_t top_ = 0, bottom_ = 0, left_ = 0, right_ = 0;  // where coverage_ may not be 0
};

}  // namespace

std::unique_ptr<Canvas> pixel_canvas(int width, int height) {
  return std::make_unique<PixelCanvas>(width, height);
}

}  // namespace tiller
