#include "tools/report/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/files/checkpoint.h"

namespace tiller {

Comparison compare(const std::string& name, const Tensor& ours, const Tensor& theirs,
                   double tolerance) {
  if (ours.shape() != theirs.shape())
    fail(ErrorKind::checkpoint,
         fmt::format("{}: the network gives {}, the reference holds {}", name,
                     to_string(ours.shape()), to_string(theirs.shape())));
  const std::vector<double> a = cast_on_host(ours.contiguous(), DType::f64).to_vector<double>();
  const std::vector<double> b = cast_on_host(theirs.contiguous(), DType::f64).to_vector<double>();
  Comparison result{name, to_string(ours.shape()), 0, 0, false};
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!(d <= result.max_absolute)) result.max_absolute = d;  // also takes a NaN
    difference += d * d;
    norm += b[i] * b[i];
  }
  result.relative_l2 = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
  if (!std::isfinite(result.relative_l2)) {
    result.relative_l2 = std::numeric_limits<double>::infinity();
    result.max_absolute = std::numeric_limits<double>::infinity();
  }
  result.passed = result.relative_l2 <= tolerance;
  return result;
}

std::string comparison_table(const std::vector<Comparison>& comparisons) {
  std::size_t name = 5, shape = 5;
  for (const Comparison& c : comparisons) {
    name = std::max(name, c.name.size());
    shape = std::max(shape, c.shape.size());
  }
  std::string text =
      fmt::format("{:<{}}  {:<{}}  max abs    rel L2\n", "array", name, "shape", shape);
  for (const Comparison& c : comparisons)
    text += fmt::format("{:<{}}  {:<{}}  {:<9.3g}  {:<9.3g}  {}\n", c.name, name, c.shape, shape,
                        c.max_absolute, c.relative_l2, c.passed ? "ok" : "DIFFERS");
  return text;
}

std::string comparison_json(const std::vector<Comparison>& comparisons) {
  nlohmann::json list = nlohmann::json::array();
  for (const Comparison& c : comparisons)
    list.push_back({{"name", c.name},
                    {"shape", c.shape},
                    // JSON has no infinity: null then
                    {"max_absolute", std::isfinite(c.max_absolute) ? nlohmann::json(c.max_absolute)
                                                                   : nlohmann::json()},
                    {"relative_l2", std::isfinite(c.relative_l2) ? nlohmann::json(c.relative_l2)
                                                                 : nlohmann::json()},
                    {"passed", c.passed}});
  return list.dump(2);
}

}  // namespace tiller
