#include "kernels/group_norm/loops_body.h"

namespace tiller::group_norm_detail {

const AllLoops& loops_avx2() { return kLoops<f32x8>; }

}  // namespace tiller::group_norm_detail
