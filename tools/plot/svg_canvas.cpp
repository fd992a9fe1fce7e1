#include <fmt/ranges.h>

#include <array>

#include "runtime/files/atomic_file.h"
#include "tools/plot/canvas.h"
#include "tools/report/printable.h"

namespace tiller {

std::span<const double> dash_pattern(int dash) {
  static constexpr std::array<double, 2> kDashed = {6, 3}, kDotted = {2, 2.5};
  static constexpr std::array<double, 4> kBoth = {8, 3, 2, 3};
  switch (dash % 4) {
    case 1:
      return kDashed;
    case 2:
      return kDotted;
    case 3:
      return kBoth;
    default:
      return {};
  }
}

namespace {

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

std::string hex(Colour colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", colour[0], colour[1], colour[2]);
}

class SvgCanvas final : public Canvas {
 public:
  SvgCanvas(int width, int height)
      : head_(fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
                          "viewBox=\"0 0 {0} {1}\">\n"
                          "<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
                          width, height)) {}

  void line(std::span<const Point> points, const Stroke& stroke) override {
    std::string coordinates;
    for (const Point& p : points) coordinates += fmt::format(" {:.2f},{:.2f}", p.x, p.y);
    const std::span<const double> dashes = dash_pattern(stroke.dash);
    body_ += fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:g}\" "
        "stroke-linejoin=\"round\"{}{}/>\n",
        coordinates.substr(coordinates.empty() ? 0 : 1), hex(stroke.colour), stroke.width,
        dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", fmt::join(dashes, " ")),
        stroke.opacity < 1 ? fmt::format(" opacity=\"{:g}\"", stroke.opacity) : "");
  }

  void dot(Point at, double radius, const Stroke& stroke) override {
    body_ +=
        fmt::format("<circle cx=\"{:.2f}\" cy=\"{:.2f}\" r=\"{:g}\" fill=\"{}\"{}/>\n", at.x, at.y,
                    radius, hex(stroke.colour),
                    stroke.opacity < 1 ? fmt::format(" opacity=\"{:g}\"", stroke.opacity) : "");
  }

  void text(Point at, const std::string& text, Anchor anchor, int size, Colour colour) override {
    constexpr const char* kAnchors[] = {"start", "middle", "end"};
    body_ += fmt::format(
        "<text x=\"{:.2f}\" y=\"{:.2f}\" font-family=\"sans-serif\" font-size=\"{}\" "
        "text-anchor=\"{}\" fill=\"{}\">{}</text>\n",
        at.x, at.y, size, kAnchors[static_cast<std::size_t>(anchor)], hex(colour), escaped(text));
  }

  double text_width(const std::string& text) const override {
    return 6.8 * static_cast<double>(text.size());  // as wide as common fonts make it
  }

  void write(const std::string& path) const override {
    AtomicFile file(path);
    file.write(head_ + body_ + "</svg>\n");
    file.commit();
  }

 private:
  std::string head_, body_;
};

}  // namespace

std::unique_ptr<Canvas> svg_canvas(int width, int height) {
  return std::make_unique<SvgCanvas>(width, height);
}

}  // namespace tiller
