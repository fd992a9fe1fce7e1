#include "kernels/gemm/microkernel_body.h"

namespace tiller {

// 12 accumulators, 2 columns and a broadcast: 15 of the 16 registers.
const Microkernels& microkernels_avx2() {
  static constexpr Microkernels table = make_table<6, 2, 8>();
  return table;
}

}  // namespace tiller
