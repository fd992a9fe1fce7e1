#pragma once
// Ctrl-C for commands that have something to finish: a request that the loop answers between two
// steps, so that no file is left half written.

namespace tiller {

/// Turns SIGINT and SIGTERM into a request until the guard dies. A second signal ends the program
/// at once. One guard at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  using Handler = void (*)(int);
  Handler previous_interrupt_, previous_terminate_;
};

/// Whether a signal has come since the guard was made.
bool interrupted();

/// Throws Error(interrupted) when interrupted().
void stop_if_interrupted();

}  // namespace tiller
