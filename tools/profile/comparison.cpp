// Two profiles side by side.
#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/error.h"
#include "tools/profile/report.h"

namespace tiller {

namespace {

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

// Median and deviation of a row's time per step.
struct Spread {
  double median = 0, deviation = 0;
  std::size_t steps = 0;
};

Spread spread_of(const ProfileRow* row) {
  if (!row) return {};
  Spread spread{median(row->per_step), 0, row->per_step.size()};
  std::vector<double> distances;
  for (const double seconds : row->per_step) distances.push_back(std::abs(seconds - spread.median));
  spread.deviation = 1.4826 * median(distances);  // of a normal distribution with that MAD
  return spread;
}

const ProfileRow* find(const Profile& profile, ProfileBy by, const std::string& name) {
  const auto table = profile.tables.find(by);
  if (table == profile.tables.end()) return nullptr;
  for (const ProfileRow& row : table->second)
    if (row.name == name) return &row;
  return nullptr;
}

const char* verdict(const Spread& before, const Spread& after) {
  if (before.steps == 0) return "new";
  if (after.steps == 0) return "gone";
  const double difference = after.median - before.median;
  if (std::abs(difference) <= 0.02 * before.median) return "same";
  if (before.steps < 2 || after.steps < 2) return difference < 0 ? "faster?" : "slower?";
  if (std::abs(difference) <= 3 * std::hypot(before.deviation, after.deviation)) return "noise";
  return difference < 0 ? "faster" : "slower";
}

}  // namespace

std::string profile_comparison(const Profile& before, const Profile& after, ProfileBy by, int top) {
  std::string out = fmt::format("before: {}\nafter:  {}\n", before.command, after.command);
  if (before.device != after.device || before.threads != after.threads)
    out +=
        fmt::format("warning: another machine or thread count ({}, {} threads; {}, {} threads)\n",
                    before.device, before.threads, after.device, after.threads);
  struct Line {
    std::string name;
    Spread before, after;
    double weight() const { return std::abs(after.median - before.median); }
  };
  std::vector<Line> lines;
  std::set<std::string> seen;
  for (const Profile* profile : {&before, &after})
    for (const ProfileRow& row : profile->tables.at(by))
      if (seen.insert(row.name).second)
        lines.push_back({row.name, spread_of(find(before, by, row.name)),
                         spread_of(find(after, by, row.name))});
  std::stable_sort(lines.begin(), lines.end(),
                   [](const Line& a, const Line& b) { return a.weight() > b.weight(); });
  out += fmt::format("\n{:<60}{:>12}{:>12}{:>9}  {}\n", name(by), "before ms", "after ms", "ratio",
                     "verdict");
  double total_before = 0, total_after = 0;
  bool single = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    total_before += line.before.median;
    total_after += line.after.median;
    single |= line.before.steps == 1 || line.after.steps == 1;
    if (static_cast<int>(i) >= top) continue;
    const std::string ratio = line.before.median > 0 && line.after.steps > 0
                                  ? fmt::format("{:.3f}", line.after.median / line.before.median)
                                  : "-";
    out += fmt::format("{:<60}{:>12.3f}{:>12.3f}{:>9}  {}\n",
                       line.name.size() > 59 ? line.name.substr(0, 58) + "~" : line.name,
                       line.before.median * 1e3, line.after.median * 1e3, ratio,
                       verdict(line.before, line.after));
  }
  out += fmt::format("{:<60}{:>12.3f}{:>12.3f}{:>9.3f}\n", "all operations (medians of a step)",
                     total_before * 1e3, total_after * 1e3,
                     total_before > 0 ? total_after / total_before : 0.0);
  if (single)
    out += "A profile of a single step has no noise to compare with: take several (--steps 2:8).\n";
  return out;
}

}  // namespace tiller
