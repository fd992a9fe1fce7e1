#include "kernels/simd.h"
#include "tools/profile/ceilings.h"
#include "tools/profile/multiply_add.h"

namespace tiller::ceilings_detail {

double multiply_add_avx2(std::int64_t rounds, float* sink) {
  return multiply_add<f32x8>(rounds, sink);
}

}  // namespace tiller::ceilings_detail
