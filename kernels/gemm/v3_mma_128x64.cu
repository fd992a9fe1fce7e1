// The tensor-core GEMM (kernels/gemm/v3_mma.cuh) with tiles of 128 x 64 results.
#include "kernels/gemm/v3_mma.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {
template void mma_product<128, 64>(const MmaParams&, Stream);
}  // namespace TILLER_DEVICE
}  // namespace tiller
