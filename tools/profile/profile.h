#pragma once
// A recording, added up: by kernel, shape, module or phase, against the machine's ceilings.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/profile/ceilings.h"
#include "tools/profile/recorder.h"

namespace tiller {

/// One line of a table.
struct ProfileRow {
  std::string name;
  std::int64_t calls = 0;
  double seconds = 0;
  Cost cost;
  double roof_seconds = 0;       ///< sum over calls of max(flops / peak, bytes / bandwidth)
  double compute_seconds = 0;    ///< time of the calls whose flops take longer than their bytes
  std::size_t peak_live = 0;     ///< most bytes alive at the end of one of its operations
  std::vector<double> per_step;  ///< seconds within each step of the window, or one sum

  double bytes() const { return cost.bytes_read + cost.bytes_written; }
  double flops_per_second() const { return seconds > 0 ? cost.flops / seconds : 0; }
  double bytes_per_second() const { return seconds > 0 ? bytes() / seconds : 0; }
  bool compute_bound() const { return compute_seconds > seconds / 2; }
  /// Share of the time that the ceilings allow, in [0, 1]; 0 without ceilings.
  double efficiency() const { return seconds > 0 ? roof_seconds / seconds : 0; }
};

/// What the rows of a table are.
enum class ProfileBy : std::uint8_t { kernel, module, shape, phase };
ProfileBy parse_by(std::string_view text);  ///< "kernel", "module", ...; throws Error(usage)
const char* name(ProfileBy by);

/// A profile: totals and tables.
struct Profile {
  std::string command;
  int threads = 0;
  std::string device, version;
  Ceilings ceilings;
  std::int64_t steps = 0;  ///< distinct steps in the window
  std::int64_t operations = 0;
  double wall_seconds = 0;  ///< from the first operation's start to the last one's end, per step
                            ///< summed, so that what lies between steps does not count
  double busy_seconds = 0;  ///< within operations
  std::vector<double> wall_per_step;  ///< its parts
  Cost cost;
  std::size_t peak_live = 0;
  std::map<ProfileBy, std::vector<ProfileRow>> tables;  ///< each sorted by time

  double gap_seconds() const { return wall_seconds - busy_seconds; }
};

/// Adds up a recording. `depth` cuts module paths to so many parts ("input_blocks.4" is two).
Profile summarize(const Recording& recording, const Ceilings& ceilings, int depth);

/// One sentence: what to look at first, and why.
std::string advice(const Profile& profile);

}  // namespace tiller
