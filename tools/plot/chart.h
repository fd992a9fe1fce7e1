#pragma once
#include <string>
#include <vector>

#include "tools/plot/canvas.h"

namespace tiller {

/// A curve: points in the order of x, NaN in y where there is none.
struct Series {
  std::string name;  ///< in the legend; "" for none
  std::vector<double> x, y;
  Stroke stroke;
};

/// One diagram. Numbers that are not finite, and on a logarithmic axis those that are not positive,
/// are gaps.
struct Chart {
  std::string title, x_label;
  bool log_y = false;
  std::vector<Series> series;
  /// Whether any number can be drawn.
  bool drawable() const;
};

inline constexpr int kChartWidth = 480, kChartHeight = 300;

/// Draws the chart with its upper left corner at `corner`: title, axes with ticks, curves, and the
/// legend beside them. A point between two gaps shows as a dot.
void draw_chart(Canvas& canvas, const Chart& chart, Point corner);

/// The nth of the colours for curves, told apart also by people with the common colour blindnesses
/// (Okabe and Ito 2008), seven in turn.
Colour curve_colour(std::size_t n);

}  // namespace tiller
