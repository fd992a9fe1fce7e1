#include "tools/plot/chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tools/plot/ticks.h"

namespace tiller {

namespace {

constexpr Colour kInk = {40, 40, 40}, kGrid = {225, 225, 225};
constexpr double kTop = 30, kBottom = 40, kLeft = 62, kRight = 14;  // around the curves
constexpr double kLegendLine = 16, kLegendStroke = 22;

bool can_show(double value, bool logarithmic) {
  return std::isfinite(value) && (!logarithmic || value > 0);
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Ranges {
  Range x, y;
};

Ranges ranges_of(const Chart& chart) {
  Ranges ranges;
  for (const Series& series : chart.series)
    for (std::size_t i = 0; i < series.x.size(); ++i)
      if (std::isfinite(series.x[i]) && can_show(series.y[i], chart.log_y)) {
        ranges.x.add(series.x[i]);
        ranges.y.add(series.y[i]);
      }
  return ranges;
}

/// Where the curves go, and how numbers become points.
struct Frame {
  double left, top, right, bottom;
  Axis x, y;
  Point at(double px, double py) const {
    return {left + x.place(px) * (right - left), bottom - y.place(py) * (bottom - top)};
  }
};

// Of a run of many points only what a column of pixels can show: its first and last, lowest and
// highest.
std::vector<Point> thinned(const std::vector<Point>& points) {
  std::vector<Point> out;
  for (std::size_t begin = 0; begin < points.size();) {
    std::size_t end = begin, low = begin, high = begin;
    while (end < points.size() && std::floor(points[end].x) == std::floor(points[begin].x)) {
      if (points[end].y < points[low].y) low = end;
      if (points[end].y > points[high].y) high = end;
      ++end;
    }
    std::array<std::size_t, 4> kept = {begin, std::min(low, high), std::max(low, high), end - 1};
    for (const std::size_t* i = kept.begin(); i != std::unique(kept.begin(), kept.end()); ++i)
      out.push_back(points[*i]);
    begin = end;
  }
  return out;
}

void draw_series(Canvas& canvas, const Frame& frame, const Series& series) {
  std::vector<Point> run;
  const auto finish = [&] {
    if (run.size() == 1)
      canvas.dot(run[0], std::max(2.0, series.stroke.width), series.stroke);
    else if (run.size() > 1)
      canvas.line(thinned(run), series.stroke);
    run.clear();
  };
  for (std::size_t i = 0; i < series.x.size(); ++i) {
    if (std::isfinite(series.x[i]) && can_show(series.y[i], frame.y.logarithmic))
      run.push_back(frame.at(series.x[i], series.y[i]));
    else
      finish();
  }
  finish();
}

void draw_axes(Canvas& canvas, const Chart& chart, const Frame& frame) {
  const Stroke grid = {.colour = kGrid}, line = {.colour = kInk};
  for (const double tick : ticks(frame.y, 5)) {
    const double y = frame.at(frame.x.low, tick).y;
    canvas.line(std::array<Point, 2>{{{frame.left, y}, {frame.right, y}}}, grid);
    canvas.text({frame.left - 6, y + 4}, tick_label(tick), Anchor::end, 12, kInk);
  }
  for (const double tick : ticks(frame.x, 5)) {
    const double x = frame.at(tick, frame.y.low).x;
    canvas.line(std::array<Point, 2>{{{x, frame.top}, {x, frame.bottom}}}, grid);
    canvas.text({x, frame.bottom + 16}, tick_label(tick), Anchor::middle, 12, kInk);
  }
  canvas.line(
      std::array<Point, 3>{
          {{frame.left, frame.top}, {frame.left, frame.bottom}, {frame.right, frame.bottom}}},
      line);
  canvas.text({(frame.left + frame.right) / 2, frame.bottom + 32}, chart.x_label, Anchor::middle,
              12, kInk);
  canvas.text({frame.left, frame.top - 10}, chart.title, Anchor::start, 12, kInk);
}

}  // namespace

bool Chart::drawable() const { return ranges_of(*this).x.low <= ranges_of(*this).x.high; }

Colour curve_colour(std::size_t n) {
  static constexpr std::array<Colour, 7> kColours = {{{0, 114, 178},
                                                      {213, 94, 0},
                                                      {0, 158, 115},
                                                      {204, 121, 167},
                                                      {230, 159, 0},
                                                      {86, 180, 233},
                                                      {0, 0, 0}}};
  return kColours[n % kColours.size()];
}

void draw_chart(Canvas& canvas, const Chart& chart, Point corner) {
  const Ranges ranges = ranges_of(chart);
  TILLER_CHECK(chart.drawable(), "a chart of {} has no number to draw", chart.title);
  double legend = 0;
  for (const Series& series : chart.series)
    if (!series.name.empty())
      legend = std::max(legend, canvas.text_width(series.name) + kLegendStroke + 14);
  legend = std::min(legend, kChartWidth / 2.0);  // a long name is cut off rather than the curves
  const Frame frame = {corner.x + kLeft,
                       corner.y + kTop,
                       corner.x + kChartWidth - kRight - legend,
                       corner.y + kChartHeight - kBottom,
                       make_axis(ranges.x.low, ranges.x.high, false),
                       make_axis(ranges.y.low, ranges.y.high, chart.log_y)};
  draw_axes(canvas, chart, frame);
  double y = frame.top + 6;
  for (const Series& series : chart.series) {
    draw_series(canvas, frame, series);
    if (series.name.empty()) continue;
    const double x = frame.right + 10;
    canvas.line(std::array<Point, 2>{{{x, y}, {x + kLegendStroke, y}}}, series.stroke);
    canvas.text({x + kLegendStroke + 4, y + 4}, series.name, Anchor::start, 12, kInk);
    y += kLegendLine;
  }
}

}  // namespace tiller
