#include "kernels/group_norm/loops_body.h"
#include "kernels/simd_avx512.h"

namespace tiller::group_norm_detail {

const AllLoops& loops_avx512() { return kLoops<f32x16>; }

}  // namespace tiller::group_norm_detail
