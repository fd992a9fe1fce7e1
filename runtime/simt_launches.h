#pragma once
// Counting what a network launches that is too large to be run on simt.

namespace tiller::executor {

/// While it lives, launches of this thread on simt are checked and reported to the trace, and no
/// block runs: outputs keep their poison. (It is there in a build without simt, too, where nothing
/// asks.)
class LaunchesOnly {
 public:
  LaunchesOnly();
  ~LaunchesOnly();
  LaunchesOnly(const LaunchesOnly&) = delete;
  LaunchesOnly& operator=(const LaunchesOnly&) = delete;

 private:
  bool before_;
};
bool launches_only();

}  // namespace tiller::executor
