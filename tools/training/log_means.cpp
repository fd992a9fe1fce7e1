#include "tools/training/log_means.h"

#include "runtime/error.h"

namespace tiller {

void LogMeans::add(const std::string& key, double value) {
  Entry& entry = entries_[key];
  entry.sum += value;
  ++entry.count;
}

void LogMeans::add_by_quartile(const std::string& key, std::span<const float> values,
                               std::span<const std::int64_t> step, std::int64_t steps) {
  TILLER_CHECK(values.size() == step.size() && !values.empty(), "log: {} values of {} for {} steps",
               values.size(), key, step.size());
  double sum = 0;
  for (const float value : values) sum += value;
  add(key, sum / static_cast<double>(values.size()));
  for (std::size_t n = 0; n < values.size(); ++n)
    add(fmt::format("{}_q{}", key, 4 * step[n] / steps), values[n]);
}

std::map<std::string, double> LogMeans::take() {
  std::map<std::string, double> means;
  for (const auto& [key, entry] : entries_)
    means[key] = entry.sum / static_cast<double>(entry.count);
  entries_.clear();
  return means;
}

}  // namespace tiller
