#include "kernels/gemm/microkernel_body.h"

namespace tiller {

// 28 accumulators, 2 columns and a broadcast: 31 of the 32 registers.
const Microkernels& microkernels_avx512() {
  static constexpr Microkernels table = make_table<14, 2, 16>();
  return table;
}

}  // namespace tiller
