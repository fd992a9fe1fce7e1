#pragma once

namespace tiller {

/// While it lives, SIGINT and SIGTERM are noted instead of ending the program, so that what is
/// finished can be kept; the second one ends it at once (exit code 130). One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  /// Whether a signal has come.
  bool requested() const;

 private:
  void (*previous_int_)(int);
  void (*previous_term_)(int);
};

}  // namespace tiller
