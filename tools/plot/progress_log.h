#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tiller {

/// A run's progress.csv: for every key one value a row, NaN where a row has none.
struct ProgressLog {
  std::string name;                                 ///< what to call the run
  std::vector<std::string> keys;                    ///< in the order of their appearance
  std::map<std::string, std::vector<double>> rows;  ///< each of equal length
  std::size_t size() const { return rows.empty() ? 0 : rows.begin()->second.size(); }
};

/// Reads what guided-diffusion's logger writes: a line of keys, then lines of numbers. Lines may
/// have too few cells (a key came later), a line of keys may come again (another program went on),
/// the last line may be half written: it is left out when cells are missing. What is no number
/// counts as NaN.
ProgressLog parse_progress(std::string_view text);

/// `run` is a folder with a progress.csv, or such a file. Throws Error(failed) when there is none
/// or it has no rows yet.
ProgressLog read_progress(const std::string& run);

}  // namespace tiller
