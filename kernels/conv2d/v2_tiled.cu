// Convolution, v2_tiled: forward, data gradient, weight gradient.
//
// math      as v1_naive, in f32
// shapes    all of them
// mapping   implicit GEMM. A block of 256 threads makes 64 x 64 results, a thread 4 x 4 of them;
//           tiles of 16 terms pass through shared memory while the next are loaded. A thread
//           decodes its pixel once and the tap at each step
// traffic   each operand once per 64 results of the other dimension, from L2
// roofline  f32 arithmetic: 16 fused multiply-adds for two 16-byte shared loads
// delta     v1_naive reads two elements a product; here a product costs half a shared load
// limits    no f64; scalar global loads, one branch on the dtype each
#include "kernels/conv2d/problem.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    conv2d_fwd_tiled_kernel(const Conv2dFwdParams __grid_constant__ p) {
  tiled_product(ConvFwdProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_dgrad_tiled_kernel(const Conv2dDgradParams __grid_constant__ p) {
  tiled_product(ConvDgradProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_wgrad_tiled_kernel(const Conv2dWgradParams __grid_constant__ p) {
  tiled_product(ConvWgradProblem(p));
}

}  // namespace

void conv2d_fwd_v2(const Conv2dFwdParams& p, Stream stream) {
  launch({"conv2d_fwd_tiled", tiled_grid(p.z.n * p.z.p * p.z.q, p.z.k), kThreads,
          shared_bytes<TiledStorage>()},
         stream, conv2d_fwd_tiled_kernel, p);
}
void conv2d_dgrad_v2(const Conv2dDgradParams& p, Stream stream) {
  launch({"conv2d_dgrad_tiled", tiled_grid(p.z.n * p.z.h * p.z.w, p.z.c), kThreads,
          shared_bytes<TiledStorage>()},
         stream, conv2d_dgrad_tiled_kernel, p);
}
void conv2d_wgrad_v2(const Conv2dWgradParams& p, Stream stream) {
  const int columns = p.z.r * p.z.s * p.z.c + (p.dbias.data ? 1 : 0);
  launch({"conv2d_wgrad_tiled", tiled_grid(p.z.k, columns), kThreads, shared_bytes<TiledStorage>()},
         stream, conv2d_wgrad_tiled_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
