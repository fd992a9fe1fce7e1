#include "kernels/simd_avx512.h"
#include "tools/profile/ceilings.h"
#include "tools/profile/multiply_add.h"

namespace tiller::ceilings_detail {

double multiply_add_avx512(std::int64_t rounds, float* sink) {
  return multiply_add<f32x16>(rounds, sink);
}

}  // namespace tiller::ceilings_detail
