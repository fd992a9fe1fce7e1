// Convolution, v1_naive: forward, data gradient, weight gradient.
//
// math      kernels/conv2d/conv2d.h, as the products of kernels/conv2d/problem.cuh
// shapes    all of them: two sources, up-sampled input, any stride, skip operand, residual
// mapping   a thread owns one element of the result and walks its sum: R S C terms (forward), R S K
//           (data gradient; 4 R S K when up-sampled), N P Q (weight gradient). Neighbouring lanes
//           own neighbouring channels of the result
// traffic   two elements for every product, from the caches
// roofline  index arithmetic: about thirty integer instructions a product
// delta     the first row: the definition, in parallel; everything else is held against it
// limits    no f64; fewer than 2^31 rows, columns and terms
#include "kernels/conv2d/problem.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    conv2d_fwd_naive_kernel(const Conv2dFwdParams __grid_constant__ p) {
  naive_product(ConvFwdProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_dgrad_naive_kernel(const Conv2dDgradParams __grid_constant__ p) {
  naive_product(ConvDgradProblem(p));
}
__global__ void __launch_bounds__(kThreads, 2)
    conv2d_wgrad_naive_kernel(const Conv2dWgradParams __grid_constant__ p) {
  naive_product(ConvWgradProblem(p));
}

}  // namespace

void conv2d_fwd_v1(const Conv2dFwdParams& p, Stream stream) {
  launch({"conv2d_fwd_naive", blocks_for(p.y.rows * p.y.cols, 1), kThreads}, stream,
         conv2d_fwd_naive_kernel, p);
}
void conv2d_dgrad_v1(const Conv2dDgradParams& p, Stream stream) {
  launch({"conv2d_dgrad_naive", blocks_for(p.dx0.rows * p.z.c, 1), kThreads}, stream,
         conv2d_dgrad_naive_kernel, p);
}
void conv2d_wgrad_v1(const Conv2dWgradParams& p, Stream stream) {
  launch({"conv2d_wgrad_naive", blocks_for(p.dw.rows * p.dw.cols + p.z.k, 1), kThreads}, stream,
         conv2d_wgrad_naive_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
