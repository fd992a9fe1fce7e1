#include "tools/profile/report.h"

#include <algorithm>

#include "runtime/error.h"

namespace tiller {

namespace {

std::string quantity(double value, const char* unit) {
  static constexpr const char* kPrefix[] = {"", "k", "M", "G", "T"};
  int i = 0;
  while (value >= 1000 && i < 4) {
    value /= 1000;
    ++i;
  }
  return fmt::format("{:.{}f} {}{}", value, value < 10 ? 2 : 1, kPrefix[i], unit);
}

// The end of a long name tells more than its middle; a path's and a shape's start, too.
std::string shortened(const std::string& text, std::size_t width) {
  if (text.size() <= width) return text;
  const std::size_t head = width * 2 / 3;
  return text.substr(0, head) + "~" + text.substr(text.size() - (width - head - 1));
}

}  // namespace

std::string profile_text(const Profile& profile, ProfileBy by, int top) {
  const auto ms = [](double seconds) { return seconds * 1e3; };
  const auto steps = static_cast<double>(std::max<std::int64_t>(profile.steps, 1));
  std::string out = fmt::format("{}\n{} operations", profile.command, profile.operations);
  if (profile.steps > 0) out += fmt::format(" in {} steps", profile.steps);
  out += fmt::format(
      ", {:.2f} ms{}: {:.2f} ms in operations, {:.2f} ms ({:.1f} %) between them\n",
      ms(profile.wall_seconds) / steps, profile.steps > 0 ? " a step" : "",
      ms(profile.busy_seconds) / steps, ms(profile.gap_seconds()) / steps,
      profile.wall_seconds > 0 ? 100 * profile.gap_seconds() / profile.wall_seconds : 0.0);
  const double busy = std::max(profile.busy_seconds, 1e-12);
  out +=
      fmt::format("{}{}, {}/s; most bytes alive {}\n", quantity(profile.cost.flops / steps, "FLOP"),
                  profile.steps > 0 ? " a step" : "", quantity(profile.cost.flops / busy, "FLOP"),
                  quantity(static_cast<double>(profile.peak_live), "B"));
  if (profile.ceilings.flops_per_second > 0)
    out += fmt::format("ceilings measured on {} threads: {}/s multiply-add, {}/s copied\n",
                       profile.threads, quantity(profile.ceilings.flops_per_second, "FLOP"),
                       quantity(profile.ceilings.bytes_per_second, "B"));
  else
    out += fmt::format("no ceilings are measured on {}\n", profile.device);
  out += fmt::format("\n{:<58}{:>7}{:>10}{:>7}{:>10}{:>9}{:>7}  {:<7}{:>9}\n", name(by), "calls",
                     "ms", "time", "GFLOP/s", "GB/s", "ceil", "bound", "live MB");
  const std::vector<ProfileRow>& rows = profile.tables.at(by);
  double rest = 0;
  std::int64_t left = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const ProfileRow& row = rows[i];
    if (static_cast<int>(i) >= top) {
      rest += row.seconds;
      ++left;
      continue;
    }
    out += fmt::format("{:<58}{:>7}{:>10.2f}{:>6.1f}%{:>10.1f}{:>9.2f}{:>6.0f}%  {:<7}{:>9.1f}\n",
                       shortened(row.name, 57), row.calls, ms(row.seconds),
                       100 * row.seconds / std::max(profile.wall_seconds, 1e-12),
                       row.flops_per_second() * 1e-9, row.bytes_per_second() * 1e-9,
                       100 * row.efficiency(), row.compute_bound() ? "compute" : "memory",
                       static_cast<double>(row.peak_live) * 1e-6);
  }
  if (left > 0)
    out += fmt::format("{:<65}{:>10.2f}{:>6.1f}%\n", fmt::format("({} more: --top)", left),
                       ms(rest), 100 * rest / std::max(profile.wall_seconds, 1e-12));
  return out + "\n" + advice(profile) + "\n";
}

std::string profile_csv(const Profile& profile, ProfileBy by) {
  std::string out = fmt::format(
      "{},calls,seconds,share,flops,bytes,gflop_per_s,gb_per_s,share_of_ceiling,bound,live_bytes\n",
      name(by));
  for (const ProfileRow& row : profile.tables.at(by))
    out += fmt::format("\"{}\",{},{:.9f},{:.6f},{:.0f},{:.0f},{:.3f},{:.3f},{:.4f},{},{}\n",
                       row.name, row.calls, row.seconds,
                       row.seconds / std::max(profile.wall_seconds, 1e-12), row.cost.flops,
                       row.bytes(), row.flops_per_second() * 1e-9, row.bytes_per_second() * 1e-9,
                       row.efficiency(), row.compute_bound() ? "compute" : "memory", row.peak_live);
  return out;
}

}  // namespace tiller
