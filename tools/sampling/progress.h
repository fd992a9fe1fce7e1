#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace tiller {

/// Progress on stderr with rate and time left: a line that is rewritten where stderr is a terminal,
/// else a whole line now and then.
class Progress {
 public:
  /// `total` counts units of equal work (one step of one picture); 0: there is no end. `unit` names
  /// them.
  Progress(std::int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// `done` units in all; `what` says in words where the run stands.
  void update(std::int64_t done, const std::string& what);
  /// Removes the line, so that others can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::int64_t total_;
  std::string unit_;
  bool terminal_;
  std::size_t shown_ = 0;  // columns of the line that stands on the terminal
  Clock::time_point begin_, printed_;
};

/// "0:42", "3:07:09".
std::string clock_time(double seconds);

}  // namespace tiller
