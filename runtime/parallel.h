#pragma once
#include <cstdint>

#include "runtime/trace.h"

namespace tiller {

/// Threads that launch() uses on the CPU: TILLER_THREADS, or what set_threads() said, or every
/// core.
int threads();
void set_threads(int count);

/// Index of the calling thread within launch(), 0 .. threads()-1.
int thread_index();

/// Runs body(i) for i in [0, tasks) on the CPU's threads and waits: a kernel launch of the CPU
/// rows. Tasks are dealt in order in contiguous runs, so a result may not depend on which thread
/// ran a task. The body must not throw. `kernel` names the launch for the trace.
template <class Body>
void launch(const char* kernel, std::int64_t tasks, const Body& body) {
  if (trace_level() >= TraceLevel::launches) [[unlikely]]
    trace_sink()->on_launch({kernel, kCpu, tasks, 1});
  if (tasks <= 1 || threads() == 1) {
    for (std::int64_t i = 0; i < tasks; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads())
  for (std::int64_t i = 0; i < tasks; ++i) body(i);
}

/// As launch(), dealing tasks one by one to whichever thread is free: for tasks of unequal length.
template <class Body>
void launch_dynamic(const char* kernel, std::int64_t tasks, const Body& body) {
  if (trace_level() >= TraceLevel::launches) [[unlikely]]
    trace_sink()->on_launch({kernel, kCpu, tasks, 1});
  if (tasks <= 1 || threads() == 1) {
    for (std::int64_t i = 0; i < tasks; ++i) body(i);
    return;
  }
#pragma omp parallel for schedule(dynamic) num_threads(threads())
  for (std::int64_t i = 0; i < tasks; ++i) body(i);
}

}  // namespace tiller
