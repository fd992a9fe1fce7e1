// Fully connected layers of a few rows, v3_warp: the embeddings of a batch.
//
// math      y = silu?(x) w^T + bias + residual, in f32
// shapes    x [M,C] with M up to 16, w [K,C], y [M,K]
// mapping   a warp owns an output channel; its lanes walk the channel's row of w, 32 elements at a
//           time, against eight rows of x, and meet in a fixed order. Lane i finishes row i
// traffic   w once (twice beyond eight rows): K C elements, whole lines; x from the caches
// roofline  the weight's bytes: at M = 1 there are two flops for each element of w
// delta     v2_tiled makes 64 x 64 results in a block, so that of one row 1/64 of its products count
//           and a layer of 1536 channels keeps 24 blocks busy; here it has 192 and no product is idle
// limits    M <= 16, no f64; SiLU is computed by every warp anew
#include "kernels/linear/problem.cuh"
#include "kernels/warp.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

inline constexpr int kRowsAtOnce = 8, kWarpsOfBlock = kThreads / 32;

__global__ void __launch_bounds__(kThreads, 2)
    linear_fwd_warp_kernel(const LinearFwdParams __grid_constant__ p) {
  const LinearFwdProblem problem(p);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int n = static_cast<int>(blockIdx.x) * kWarpsOfBlock + static_cast<int>(threadIdx.x / 32);
  if (n >= problem.n) return;  // a whole warp
  for (int first = 0; first < problem.m; first += kRowsAtOnce) {
    float sum[kRowsAtOnce] = {};
    for (int c = lane; c < problem.k; c += 32) {
      const float w = problem.b(n, c);
#pragma unroll
      for (int i = 0; i < kRowsAtOnce; ++i)
        if (first + i < problem.m) sum[i] = fmaf(problem.a(first + i, c), w, sum[i]);
    }
#pragma unroll
    for (int i = 0; i < kRowsAtOnce; ++i) {
      const float all = warp_sum(sum[i]);
      if (lane == i && first + i < problem.m) problem.write(first + i, n, all);
    }
  }
}

}  // namespace

void linear_fwd_v3_warp(const LinearFwdParams& p, Stream stream) {
  launch({"linear_fwd_warp", blocks_for(p.w.rows * 32, 1), kThreads}, stream,
         linear_fwd_warp_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
