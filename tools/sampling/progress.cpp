#include "tools/sampling/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace tiller {

namespace {
constexpr double kTerminalInterval = 0.1;  // seconds between two lines
constexpr double kQuietInterval = 30;

double seconds_between(std::chrono::steady_clock::time_point a,
                       std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}
}  // namespace

std::string clock_time(double seconds) {
  const auto s = std::llround(seconds);
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

Progress::Progress(std::int64_t total, std::string unit)
    : total_(total),
      unit_(std::move(unit)),
      terminal_(isatty(STDERR_FILENO) != 0),
      begin_(Clock::now()),
      printed_(begin_) {}

Progress::~Progress() { clear(); }

void Progress::clear() {
  if (shown_ == 0) return;
  std::fputs(fmt::format("\r{:{}}\r", "", shown_).c_str(), stderr);
  std::fflush(stderr);
  shown_ = 0;
}

void Progress::update(std::int64_t done, const std::string& what) {
  const Clock::time_point now = Clock::now();
  const bool last = total_ > 0 && done == total_;
  if (!last && seconds_between(printed_, now) < (terminal_ ? kTerminalInterval : kQuietInterval))
    return;
  printed_ = now;
  const double elapsed = seconds_between(begin_, now);
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  const std::string line =
      last ? fmt::format("{}, {:.3g} {}/s, took {}", what, rate, unit_, clock_time(elapsed))
      : total_ > 0
          ? fmt::format("{}, {:.3g} {}/s, {} left", what, rate, unit_,
                        rate > 0 ? clock_time(static_cast<double>(total_ - done) / rate) : "?")
          : fmt::format("{}, {:.3g} {}/s", what, rate, unit_);
  if (!terminal_ || last) {
    clear();
    std::fputs((line + "\n").c_str(), stderr);
    return;
  }
  std::fputs(fmt::format("\r{:<{}}", line, shown_).c_str(), stderr);
  std::fflush(stderr);
  shown_ = line.size();
}

}  // namespace tiller
