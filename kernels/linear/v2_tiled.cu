// Fully connected layers, v2_tiled.
//
// math      as v1_naive
// shapes    x [M,C], w [K,C], y [M,K]
// mapping   a block of 256 threads makes 64 x 64 results, a thread 4 x 4 of them; tiles of 16 terms
//           pass through shared memory while the next are loaded (kernels/gemm/problem.cuh)
// traffic   each operand once per 64 results of the other dimension: M K C / 32 elements, from L2
// roofline  f32 arithmetic for large M; for a batch's embeddings (M below 64) the weight's bytes
// delta     v1_naive reads both operands for every product; here 16 products share 8 shared loads
// limits    no f64; small M leaves rows of the tile idle
#include "kernels/linear/problem.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    linear_fwd_tiled_kernel(const LinearFwdParams __grid_constant__ p) {
  tiled_product(LinearFwdProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    linear_dgrad_tiled_kernel(const LinearDgradParams __grid_constant__ p) {
  tiled_product(LinearDgradProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    linear_wgrad_tiled_kernel(const LinearWgradParams __grid_constant__ p) {
  tiled_product(LinearWgradProblem(p));
}

}  // namespace

void linear_fwd_v2(const LinearFwdParams& p, Stream stream) {
  launch({"linear_fwd_tiled", tiled_grid(static_cast<int>(p.y.rows), static_cast<int>(p.y.cols)),
          kThreads, shared_bytes<TiledStorage>()},
         stream, linear_fwd_tiled_kernel, p);
}
void linear_dgrad_v2(const LinearDgradParams& p, Stream stream) {
  launch(
      {"linear_dgrad_tiled", tiled_grid(static_cast<int>(p.dx.rows), static_cast<int>(p.dx.cols)),
       kThreads, shared_bytes<TiledStorage>()},
      stream, linear_dgrad_tiled_kernel, p);
}
void linear_wgrad_v2(const LinearWgradParams& p, Stream stream) {
  const int columns = static_cast<int>(p.dw.cols) + (p.dbias.data ? 1 : 0);
  launch({"linear_wgrad_tiled", tiled_grid(static_cast<int>(p.dw.rows), columns), kThreads,
          shared_bytes<TiledStorage>()},
         stream, linear_wgrad_tiled_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
