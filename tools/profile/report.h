#pragma once
// A profile as a person, a script or a trace viewer wants it.
#include <string>
#include <vector>

#include "tools/profile/profile.h"

namespace tiller {

/// The summary, one ranked table of at most `top` rows, and the advice.
std::string profile_text(const Profile& profile, ProfileBy by, int top);

/// Everything, for scripts and for --compare. Times in seconds, bytes, flops.
std::string profile_json(const Profile& profile);
/// The reverse. Throws Error(failed) for a file that is no profile, naming it.
Profile read_profile(const std::string& path);

/// One table as CSV with a header line.
std::string profile_csv(const Profile& profile, ProfileBy by);

/// Chrome's trace format, which Perfetto (ui.perfetto.dev) and chrome://tracing open: one track of
/// operations, one of phases and modules above it, and the live bytes as a counter.
std::string chrome_trace(const Recording& recording);

/// What got faster or slower from `before` to `after`, row by row, beyond the noise of the steps:
/// a difference of medians over three times their deviation (by median absolute deviations) and
/// over 2 %. With a single step on a side there is no noise to compare with, and it says so.
std::string profile_comparison(const Profile& before, const Profile& after, ProfileBy by, int top);

}  // namespace tiller
