#pragma once
#include <cstdint>

namespace tiller::executor {

/// A line of a kernel. As a default argument, `Where w = Where::here()` is the caller's line.
struct Where {
  const char* file = "";
  int line = 0;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

/// Ends the launch with an Error that names the kernel, block, thread, line and order of threads.
/// Called by the executor within a kernel's thread.
[[noreturn]] void fault(Where where, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace tiller::executor
