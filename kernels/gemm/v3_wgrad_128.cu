// The weight gradient on tensor cores (kernels/gemm/v3_wgrad.cuh) with tiles of 128 x 128 results.
#include "kernels/gemm/v3_wgrad.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {
template void mma_wgrad<128>(const MmaWgradParams&, Stream);
}  // namespace TILLER_DEVICE
}  // namespace tiller
