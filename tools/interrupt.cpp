#include "tools/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "runtime/error.h"

namespace tiller {

namespace {
volatile std::sig_atomic_t requested = 0;

extern "C" void request_stop(int) {
  if (requested) _exit(static_cast<int>(ErrorKind::interrupted));
  requested = 1;
}
}  // namespace

InterruptGuard::InterruptGuard() {
  requested = 0;
  previous_interrupt_ = std::signal(SIGINT, request_stop);
  previous_terminate_ = std::signal(SIGTERM, request_stop);
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, previous_interrupt_);
  std::signal(SIGTERM, previous_terminate_);
}

bool interrupted() { return requested != 0; }

void stop_if_interrupted() {
  if (interrupted()) fail(ErrorKind::interrupted, "interrupted");
}

}  // namespace tiller
