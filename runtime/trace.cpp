#include "runtime/trace.h"

#include <chrono>

namespace tiller {

namespace trace_detail {
thread_local State state;
}

using trace_detail::state;

const std::string& current_module() {
  static const std::string none;
  return state.module ? *state.module : none;
}

const char* current_phase() { return state.phase; }

TraceGuard::TraceGuard(TraceSink& sink, TraceLevel level)
    : previous_sink_(state.sink), previous_level_(state.level) {
  state.sink = &sink;
  state.level = level;
}

TraceGuard::~TraceGuard() {
  state.sink = previous_sink_;
  state.level = previous_level_;
}

std::int64_t now_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace tiller
