// The tensor-core GEMM behind a group norm (kernels/gemm/v3_normed.cuh) with tiles of 128 x 128 results.
#include "kernels/gemm/v3_normed.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {
template void mma_normed_product<128, 128>(const MmaParams&, Stream);
}  // namespace TILLER_DEVICE
}  // namespace tiller
