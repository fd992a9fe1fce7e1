#pragma once
#include "kernels/gemm/microkernel.h"

namespace tiller {

/// The two instruction sets of the fast rows, as template arguments: kernels, and whether this
/// processor has them.
struct Avx2 {
  static const Microkernels& kernels() { return microkernels_avx2(); }
  static bool available() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
};
struct Avx512 {
  static const Microkernels& kernels() { return microkernels_avx512(); }
  static bool available() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  }
};

}  // namespace tiller
