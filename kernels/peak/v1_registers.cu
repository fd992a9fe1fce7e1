// Multiply-adds without memory, v1_registers.
//
// math      c += 1 * 1, by fmaf or by mma.sync on matrices of ones
// shapes    none: a number of rounds
// mapping   256 threads a block, eight sums a thread that do not wait for each other (mma: eight
//           16x8 tiles a warp), all in registers; many more blocks than fit at once
// traffic   four bytes a thread in the end
// roofline  the arithmetic itself: this is the roof
// delta     the first row
// limits    rounds below 2^31
#include "kernels/peak/kernels.h"
// Last, because of its keywords.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kPeakThreads, 2)
    peak_fma_kernel(const PeakParams __grid_constant__ p) {
  float sum[kPeakChains] = {};
  for (int round = 0; round < p.rounds; ++round)
#pragma unroll
    for (int i = 0; i < kPeakChains; ++i) sum[i] = fmaf(sum[i], p.one, p.one);
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kPeakChains; ++i) total += sum[i];
  p.sink[blockIdx.x * kPeakThreads + threadIdx.x] = total;
}

template <class T>
__global__ void __launch_bounds__(kPeakThreads, 2)
    peak_mma_kernel(const PeakParams __grid_constant__ p) {
  float sum[kPeakChains][4] = {};
  const std::uint32_t a[4] = {p.one_a, p.one_a, p.one_a, p.one_a}, b[2] = {p.one_b, p.one_b};
  for (int round = 0; round < p.rounds; ++round)
#pragma unroll
    for (int i = 0; i < kPeakChains; ++i) mma(T{}, sum[i], a, b);
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kPeakChains; ++i) total += sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
  p.sink[blockIdx.x * kPeakThreads + threadIdx.x] = total;
}

}  // namespace

void peak_v1(PeakKind kind, const PeakParams& p, Stream stream) {
  const dim3 grid(static_cast<unsigned>(p.blocks));
  switch (kind) {
    case PeakKind::fma_f32:
      return launch({"peak_fma_f32", grid, kPeakThreads}, stream, peak_fma_kernel, p);
    case PeakKind::mma_f16:
      return launch({"peak_mma_f16", grid, kPeakThreads}, stream, peak_mma_kernel<f16>, p);
    case PeakKind::mma_bf16:
      return launch({"peak_mma_bf16", grid, kPeakThreads}, stream, peak_mma_kernel<bf16>, p);
    case PeakKind::mma_tf32:
      return launch({"peak_mma_tf32", grid, kPeakThreads}, stream, peak_mma_kernel<float>, p);
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
