#include "tools/sampling/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "runtime/error.h"

namespace tiller {

namespace {

volatile std::sig_atomic_t pending = 0;

extern "C" void note_signal(int) {
  if (pending != 0) _exit(static_cast<int>(ErrorKind::interrupted));
  pending = 1;
  constexpr char kText[] = "\nstopping after this step (again: at once)\n";
  (void)!write(STDERR_FILENO, kText, sizeof(kText) - 1);
}

}  // namespace

InterruptGuard::InterruptGuard()
    : previous_int_(std::signal(SIGINT, note_signal)),
      previous_term_(std::signal(SIGTERM, note_signal)) {
  pending = 0;
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, previous_int_);
  std::signal(SIGTERM, previous_term_);
}

bool InterruptGuard::requested() const { return pending != 0; }

}  // namespace tiller
