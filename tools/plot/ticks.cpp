#include "tools/plot/ticks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tiller {

double Axis::place(double value) const {
  if (logarithmic) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

Axis make_axis(double low, double high, bool logarithmic) {
  if (logarithmic) {
    const double room = high > low ? std::pow(high / low, 0.04) : 1.5;
    return {low / room, high * room, true};
  }
  const double room = high > low ? 0.04 * (high - low) : std::max(std::abs(low) / 2, 0.5);
  return {low - room, high + room, false};
}

namespace {

std::vector<double> multiples(double step, const Axis& axis) {
  std::vector<double> out;
  const double first = std::ceil(axis.low / step), last = std::floor(axis.high / step);
  for (double i = first; i <= last; ++i) out.push_back(i * step);  // a product keeps them round
  return out;
}

std::vector<double> linear_ticks(const Axis& axis, int count) {
  const double step = (axis.high - axis.low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(step)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= step * 0.7) return multiples(factor * power, axis);
  return multiples(10 * power, axis);
}

}  // namespace

std::vector<double> ticks(const Axis& axis, int count) {
  if (!axis.logarithmic) return linear_ticks(axis, count);
  const double first = std::ceil(std::log10(axis.low)), last = std::floor(std::log10(axis.high));
  const bool dense = last - first < 2;
  const double every = dense ? 1 : std::ceil((last - first + 1) / count);
  std::vector<double> out;
  for (double exponent = dense ? first - 1 : first; exponent <= last; exponent += every)
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10.0, exponent);
      if ((factor == 1 || dense) && value >= axis.low && value <= axis.high) out.push_back(value);
    }
  return out.size() >= 2 ? out : linear_ticks(axis, count);
}

std::string tick_label(double value) {
  const double size = std::abs(value);
  if (size < 1e-12) return "0";  // what rounding leaves of zero
  if (size >= 1e6 && size < 1e9) return fmt::format("{:.6g}M", value / 1e6);
  if (size >= 1e4 && size < 1e6) return fmt::format("{:.6g}k", value / 1e3);
  return fmt::format("{:.6g}", value);
}

}  // namespace tiller
