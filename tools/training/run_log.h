#pragma once
// The files in which a run tells how it goes, by guided-diffusion's names and forms.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tiller {

/// Which of guided-diffusion's outputs are wanted: OPENAI_LOG_FORMAT, "stdout,log,csv" when empty.
struct LogFormats {
  bool table = false;                ///< "stdout": a table on standard output
  bool text = false;                 ///< "log": the same table in log.txt
  bool csv = false;                  ///< "csv": progress.csv
  bool json = false;                 ///< "json": progress.json, one object per line
  std::vector<std::string> unknown;  ///< "tensorboard" and the like, which are not written
};
LogFormats parse_log_formats(const std::string& text);

/// Writes rows of numbers to a run's folder. metrics.jsonl is always written. A row is appended by
/// one write, so that a killed run leaves at most one torn line, which resuming removes. Throws
/// Error(failed) when a file cannot be written.
class RunLog {
 public:
  /// Starts new files, or with `resume_before` >= 0 keeps the rows of steps below it.
  RunLog(std::string folder, const LogFormats& formats, std::int64_t resume_before = -1);
  /// One line of the log; `row` has "step" among its keys.
  void row(const std::map<std::string, double>& row);
  /// A sentence, in log.txt alone.
  void note(const std::string& text);

 private:
  std::string path(const char* name) const { return folder_ + "/" + name; }
  void append_csv(const std::map<std::string, double>& row);
  std::string folder_;
  LogFormats formats_;
  std::vector<std::string> columns_;  // of progress.csv
};

/// guided-diffusion's table of a row, with a line's end behind each line.
std::string log_table(const std::map<std::string, double>& row);

}  // namespace tiller
