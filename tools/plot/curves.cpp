#include "tools/plot/curves.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace tiller {

namespace {

/// "val_acc@1_q2" is the validation's accuracy at the third quarter of the timesteps.
struct KeyParts {
  std::string split;     // "train_", "val_" or ""
  std::string quantity;  // "acc@1"
  int quarter = -1;      // -1: over all timesteps
};

KeyParts parts_of(const std::string& key) {
  KeyParts parts;
  std::string rest = key;
  for (const char* split : {"train_", "val_"})
    if (rest.starts_with(split)) {
      parts.split = split;
      rest.erase(0, parts.split.size());
      break;
    }
  if (rest.size() > 3 && rest.compare(rest.size() - 3, 2, "_q") == 0 && rest.back() >= '0' &&
      rest.back() <= '3') {
    parts.quarter = rest.back() - '0';
    rest.resize(rest.size() - 3);
  }
  parts.quantity = rest;
  return parts;
}

bool is_position(const std::string& key) { return key == "step" || key == "samples"; }

// What is set rather than measured has no noise to be averaged away.
bool is_setting(const std::string& quantity) {
  return quantity == "lg_loss_scale" || quantity == "lr";
}

bool wanted(const std::string& key, const std::vector<std::string>& keys) {
  if (keys.empty()) return !is_position(key);
  const auto names = [&](const std::string& k) { return k == key || k == parts_of(key).quantity; };
  return std::any_of(keys.begin(), keys.end(), names);
}

// What a person looks at first stands first.
std::size_t rank(const std::string& quantity) {
  static const std::vector<std::string> order = {
      "loss", "mse", "vb", "acc@1", "acc@5", "grad_norm", "param_norm", "lg_loss_scale"};
  return static_cast<std::size_t>(std::find(order.begin(), order.end(), quantity) - order.begin());
}

const std::vector<double>* find(const ProgressLog& run, const std::string& key) {
  const auto found = run.rows.find(key);
  return found == run.rows.end() ? nullptr : &found->second;
}

std::string x_key(const ProgressLog& run, const std::string& asked) {
  for (const std::string& key : {asked, std::string("step"), std::string("samples")})
    if (run.rows.contains(key)) return key;
  return "row";
}

// A curve of one key. Where a run was resumed from an earlier step, x goes back: what had been
// logged from there on was done again, and the later numbers count.
Series series_of(const ProgressLog& run, const std::string& key, const std::string& x_asked) {
  const std::vector<double>& y = *find(run, key);
  const std::vector<double>* x = find(run, x_key(run, x_asked));
  Series series;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double at = x ? (*x)[i] : static_cast<double>(i);
    if (!std::isfinite(at)) continue;
    while (!series.x.empty() && series.x.back() >= at) {
      series.x.pop_back();
      series.y.pop_back();
    }
    series.x.push_back(at);
    series.y.push_back(y[i]);
  }
  return series;
}

/// The keys of one chart: a quantity over all timesteps, or by quarters.
struct Group {
  std::size_t rank;
  std::string quantity;
  bool quarters;
  friend bool operator<(const Group& a, const Group& b) {
    return std::tie(a.rank, a.quantity, a.quarters) < std::tie(b.rank, b.quantity, b.quarters);
  }
};

std::map<Group, std::vector<std::string>> grouped(const std::vector<ProgressLog>& runs,
                                                  const std::vector<std::string>& keys) {
  std::map<Group, std::vector<std::string>> groups;
  for (const ProgressLog& run : runs)
    for (const std::string& key : run.keys) {
      if (!wanted(key, keys)) continue;
      const KeyParts parts = parts_of(key);
      std::vector<std::string>& group =
          groups[{rank(parts.quantity), parts.quantity, parts.quarter >= 0}];
      if (std::find(group.begin(), group.end(), key) == group.end()) group.push_back(key);
    }
  // The order in which keys turn up in a file is chance's.
  for (auto& [group, members] : groups) std::sort(members.begin(), members.end());
  return groups;
}

void check_keys(const std::vector<ProgressLog>& runs, const std::vector<std::string>& keys) {
  std::vector<std::string> known;
  for (const ProgressLog& run : runs)
    for (const std::string& key : run.keys)
      if (std::find(known.begin(), known.end(), key) == known.end()) known.push_back(key);
  for (const std::string& asked : keys)
    if (std::none_of(known.begin(), known.end(),
                     [&](const std::string& key) { return wanted(key, {asked}); }))
      fail(ErrorKind::usage,
           fmt::format("--keys: no run has {}; there are {}", asked, fmt::join(known, ", ")));
}

}  // namespace

std::vector<double> smoothed(const std::vector<double>& values, double weight) {
  std::vector<double> out;
  double sum = 0, weights = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) {
      out.push_back(value);
      continue;
    }
    sum = weight * sum + (1 - weight) * value;
    weights = weight * weights + (1 - weight);
    out.push_back(sum / weights);
  }
  return out;
}

std::vector<Chart> make_charts(const std::vector<ProgressLog>& runs, const CurveOptions& options) {
  check_keys(runs, options.keys);
  std::vector<Chart> charts;
  for (const auto& [group, keys] : grouped(runs, options.keys)) {
    Chart chart;
    chart.title = group.quantity + (group.quarters ? ", by quarter of the timesteps" : "");
    chart.x_label = x_key(runs[0], options.x);
    chart.log_y = options.log_y;
    const bool alone = runs.size() == 1 && keys.size() == 1;
    for (std::size_t r = 0; r < runs.size(); ++r)
      for (std::size_t k = 0; k < keys.size(); ++k) {
        if (!find(runs[r], keys[k])) continue;
        const KeyParts parts = parts_of(keys[k]);
        Series series = series_of(runs[r], keys[k], options.x);
        const bool validation = parts.split == "val_";
        if (group.quarters) {
          series.stroke.colour = curve_colour(static_cast<std::size_t>(parts.quarter));
          series.stroke.dash = static_cast<int>(2 * r) + (validation ? 1 : 0);
        } else {
          series.stroke.colour = curve_colour(runs.size() > 1 ? r : k);
          series.stroke.dash = runs.size() > 1 && validation ? 1 : 0;
        }
        series.stroke.width = 1.5;
        if (!alone)
          series.name = runs.size() == 1   ? keys[k]
                        : keys.size() == 1 ? runs[r].name
                                           : runs[r].name + " " + keys[k];
        if (options.smooth > 0 && !is_setting(group.quantity)) {
          Series raw = series;
          raw.name.clear();
          raw.stroke.width = 1;
          raw.stroke.opacity = 0.25;
          chart.series.push_back(std::move(raw));
          series.y = smoothed(series.y, options.smooth);
        }
        chart.series.push_back(std::move(series));
      }
    if (chart.drawable()) charts.push_back(std::move(chart));
  }
  return charts;
}

PageSize page_size(std::size_t charts) {
  const int count = static_cast<int>(charts), columns = std::min(count, 2);
  return {columns * kChartWidth, (count + 1) / 2 * kChartHeight};
}

void draw_charts(Canvas& canvas, const std::vector<Chart>& charts) {
  int column = 0, row = 0;
  for (const Chart& chart : charts) {
    draw_chart(
        canvas, chart,
        {static_cast<double>(column * kChartWidth), static_cast<double>(row * kChartHeight)});
    row += column;
    column = 1 - column;
  }
}

}  // namespace tiller
