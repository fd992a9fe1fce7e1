// Fully connected layers, v1_naive.
//
// math      y = silu?(x) w^T + bias + residual; dx = dy w; dw = dy^T silu?(x), dbias = sum of dy
// shapes    x [M,C], w [K,C], y [M,K]
// mapping   a thread owns one element of the result and walks its sum; neighbouring lanes share a
//           row of x and read neighbouring rows of w
// traffic   2 M K C elements, which the caches must serve: no reuse is arranged
// roofline  caches, far from arithmetic
// delta     the first row: the definition, in parallel
// limits    no f64
#include "kernels/linear/problem.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    linear_fwd_naive_kernel(const LinearFwdParams __grid_constant__ p) {
  naive_product(LinearFwdProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    linear_dgrad_naive_kernel(const LinearDgradParams __grid_constant__ p) {
  naive_product(LinearDgradProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    linear_wgrad_naive_kernel(const LinearWgradParams __grid_constant__ p) {
  naive_product(LinearWgradProblem(p));
}

}  // namespace

void linear_fwd_v1(const LinearFwdParams& p, Stream stream) {
  launch({"linear_fwd_naive", blocks_for(p.y.rows * p.y.cols, 1), kThreads}, stream,
         linear_fwd_naive_kernel, p);
}
void linear_dgrad_v1(const LinearDgradParams& p, Stream stream) {
  launch({"linear_dgrad_naive", blocks_for(p.dx.rows * p.dx.cols, 1), kThreads}, stream,
         linear_dgrad_naive_kernel, p);
}
void linear_wgrad_v1(const LinearWgradParams& p, Stream stream) {
  launch({"linear_wgrad_naive", blocks_for(p.dw.rows * (p.dw.cols + 1), 1), kThreads}, stream,
         linear_wgrad_naive_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
