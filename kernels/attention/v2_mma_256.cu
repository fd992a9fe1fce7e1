// Tensor-core attention (v2_mma_fwd.cuh, v2_mma_bwd.cuh) for heads of 256 channels.
#include "kernels/attention/v2_mma_bwd.cuh"
#include "kernels/attention/v2_mma_fwd.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {
template void attention_fwd_v2<256>(const AttentionFwdParams&, Stream);
template void attention_bwd_v2<256>(const AttentionBwdParams&, Stream);
}  // namespace TILLER_DEVICE
}  // namespace tiller
