#include "tools/profile/profile.h"

#include <algorithm>

#include "runtime/error.h"

namespace tiller {

namespace {

constexpr ProfileBy kAll[] = {ProfileBy::kernel, ProfileBy::module, ProfileBy::shape,
                              ProfileBy::phase};

std::string cut_path(const std::string& path, int depth) {
  if (path.empty()) return "(outside the networks)";
  std::size_t at = 0;
  for (int part = 0; part < depth; ++part) {
    at = path.find('.', at);
    if (at == std::string::npos) return path;
    ++at;
  }
  return path.substr(0, at - 1);
}

std::string label(const Recording& recording, const OpRecord& op, ProfileBy by, int depth) {
  const Names& names = recording.names;
  switch (by) {
    case ProfileBy::kernel:
      return names[op.kernel];
    case ProfileBy::module:
      return cut_path(names[op.module], depth);
    case ProfileBy::shape:
      return fmt::format("{} {}", names[op.kernel], names[op.shape]);
    case ProfileBy::phase:
      return names[op.phase];
  }
  return {};
}

struct Seconds {
  double flops = 0, bytes = 0;  // at the ceilings
  double roof() const { return std::max(flops, bytes); }
};

Seconds at_ceilings(const Cost& cost, const Ceilings& ceilings) {
  Seconds s;
  if (ceilings.flops_per_second > 0) s.flops = cost.flops / ceilings.flops_per_second;
  if (ceilings.bytes_per_second > 0)
    s.bytes = (cost.bytes_read + cost.bytes_written) / ceilings.bytes_per_second;
  return s;
}

// Consecutive operations of one step: batches count their steps anew, so a step number may return.
struct Stretch {
  std::size_t begin, end;
};

std::vector<Stretch> stretches_of(const std::vector<OpRecord>& ops) {
  std::vector<Stretch> stretches;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (i == 0 || ops[i].step != ops[i - 1].step) stretches.push_back({i, i});
    stretches.back().end = i + 1;
  }
  return stretches;
}

std::vector<ProfileRow> table_of(const Recording& recording, const std::vector<Stretch>& stretches,
                                 const Ceilings& ceilings, ProfileBy by, int depth) {
  std::vector<ProfileRow> rows;
  std::map<std::string, std::size_t> index;
  for (std::size_t s = 0; s < stretches.size(); ++s)
    for (std::size_t i = stretches[s].begin; i < stretches[s].end; ++i) {
      const OpRecord& op = recording.ops[i];
      const auto [at, fresh] = index.emplace(label(recording, op, by, depth), rows.size());
      if (fresh) {
        rows.emplace_back().name = at->first;
        rows.back().per_step.assign(stretches.size(), 0);
      }
      ProfileRow& row = rows[at->second];
      const double seconds = static_cast<double>(op.end_ns - op.begin_ns) * 1e-9;
      const Seconds ideal = at_ceilings(op.cost, ceilings);
      ++row.calls;
      row.seconds += seconds;
      row.cost += op.cost;
      row.roof_seconds += ideal.roof();
      if (ideal.flops > ideal.bytes) row.compute_seconds += seconds;
      row.peak_live = std::max(row.peak_live, op.live_bytes);
      row.per_step[s] += seconds;
    }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

const char* name(ProfileBy by) {
  switch (by) {
    case ProfileBy::kernel:
      return "kernel";
    case ProfileBy::module:
      return "module";
    case ProfileBy::shape:
      return "shape";
    case ProfileBy::phase:
      return "phase";
  }
  return "?";
}

ProfileBy parse_by(std::string_view text) {
  for (const ProfileBy by : kAll)
    if (text == name(by)) return by;
  fail(ErrorKind::usage, fmt::format("--by {}: it takes kernel, module, shape or phase", text));
}

Profile summarize(const Recording& recording, const Ceilings& ceilings, int depth) {
  Profile profile;
  profile.ceilings = ceilings;
  profile.operations = static_cast<std::int64_t>(recording.ops.size());
  const std::vector<Stretch> stretches = stretches_of(recording.ops);
  for (const Stretch& stretch : stretches) {
    const OpRecord& first = recording.ops[stretch.begin];
    if (first.step >= 0) ++profile.steps;
    profile.wall_per_step.push_back(
        static_cast<double>(recording.ops[stretch.end - 1].end_ns - first.begin_ns) * 1e-9);
    profile.wall_seconds += profile.wall_per_step.back();
  }
  for (const OpRecord& op : recording.ops) {
    profile.busy_seconds += static_cast<double>(op.end_ns - op.begin_ns) * 1e-9;
    profile.cost += op.cost;
    profile.peak_live = std::max(profile.peak_live, op.live_bytes);
  }
  for (const ProfileBy by : kAll)
    profile.tables[by] = table_of(recording, stretches, ceilings, by, depth);
  return profile;
}

std::string advice(const Profile& profile) {
  if (profile.operations == 0) return "Nothing ran in the window.";
  const double gaps = profile.gap_seconds() / profile.wall_seconds;
  if (gaps > 0.2)
    return fmt::format(
        "Look first at what the host does between operations: {:.0f} % of the time lies in gaps of "
        "{:.1f} microseconds on average, so the operations are too small for this machine (a "
        "larger batch hides it).",
        100 * gaps, 1e6 * profile.gap_seconds() / static_cast<double>(profile.operations));
  // The row by which most time could be gained, were it to reach its ceiling.
  const std::vector<ProfileRow>& rows = profile.tables.at(ProfileBy::kernel);
  const auto gain = [](const ProfileRow& row) { return row.seconds - row.roof_seconds; };
  const auto worst =
      std::max_element(rows.begin(), rows.end(),
                       [&](const ProfileRow& a, const ProfileRow& b) { return gain(a) < gain(b); });
  std::string shape;
  double most = 0;
  for (const ProfileRow& row : profile.tables.at(ProfileBy::shape))
    if (row.name.starts_with(worst->name + " ") && gain(row) > most) {
      most = gain(row);
      shape = row.name.substr(worst->name.size() + 1);
    }
  return fmt::format(
      "Look first at {}: {:.0f} % of the time, at {:.0f} % of the {} ceiling; at its ceiling the "
      "whole would take {:.0f} % less. Most of that lies in {}.",
      worst->name, 100 * worst->seconds / profile.wall_seconds, 100 * worst->efficiency(),
      worst->compute_bound() ? "multiply-add" : "memory",
      100 * std::max(0.0, gain(*worst)) / profile.wall_seconds,
      shape.empty() ? "no single shape" : shape);
}

}  // namespace tiller
