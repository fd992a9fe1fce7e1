#include "runtime/parallel.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <charconv>

#include "runtime/env.h"
#include "runtime/error.h"

namespace tiller {

namespace {
int default_threads() {
  const std::string text = environment("TILLER_THREADS");
  if (!text.empty()) {
    int count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error != std::errc() || end != text.data() + text.size() || count < 1 || count > 4096)
      fail(ErrorKind::usage, fmt::format("TILLER_THREADS={} is not a number of threads", text));
    return count;
  }
#if defined(_OPENMP)
  return omp_get_num_procs();
#else
  return 1;
#endif
}

int& count() {
  static int n = default_threads();
  return n;
}
}  // namespace

int threads() { return count(); }

void set_threads(int n) {
  if (n < 1 || n > 4096) fail(ErrorKind::usage, fmt::format("{} is not a number of threads", n));
  count() = n;
}

int thread_index() {
#if defined(_OPENMP)
  return omp_get_thread_num();
#else
  return 0;
#endif
}

}  // namespace tiller
