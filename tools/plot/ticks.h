#pragma once
#include <string>
#include <vector>

namespace tiller {

/// One axis: numbers in [low, high], low < high, linear or logarithmic (then low > 0).
struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  /// Where a number stands, 0 at low, 1 at high.
  double place(double value) const;
};

/// An axis that holds the numbers from `low` to `high` (finite, low <= high, > 0 if logarithmic),
/// with room around a single one.
Axis make_axis(double low, double high, bool logarithmic);

/// Round numbers within the axis, about `count` of them: multiples of 1, 2 or 5 times a power of
/// ten, or on a logarithmic axis powers of ten, with 2 and 5 between where few would be.
std::vector<double> ticks(const Axis& axis, int count);

/// "0.002", "1500", "20k", "1e-05": a tick as short as it can be told from its neighbours.
std::string tick_label(double value);

}  // namespace tiller
