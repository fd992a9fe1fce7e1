// Elementwise operations, v1_flat.
//
// math      y[i] = f(x[i]), f(a[i], b[j(i)]), mask[k(i)] > 0 ? a[i] : b[i], dy[i] silu'(x[i])
// shapes    any; operands may be channel slices and of different dtypes
// mapping   thread t of the launch takes elements t, t + T, t + 2T, ... in row order, T the number
//           of threads: neighbouring lanes read neighbouring elements
// traffic   every operand once, the result once: numel * (sum of element sizes) bytes
// roofline  memory: at most a dozen flops an element, ridge point of an H200 above 100 flops a byte
// delta     the first row
// limits    no f64; one element per load, so 2-byte types move 64 bytes a warp and load where 128
//           would do, and rows of a slice cost a division each
#include "kernels/elementwise/functions.cuh"
#include "kernels/elementwise/kernels.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2) unary_kernel(const UnaryParams __grid_constant__ p) {
  const std::int64_t count = numel(p.x);
  for (std::int64_t i = first_element(); i < count; i += next_element())
    store(p.y, i, apply(p.kind, load(p.x, i), p.a, p.b));
}

// The same bytes in another place: integers and f64 pass unharmed.
template <class Word>
__global__ void __launch_bounds__(kThreads, 2) copy_kernel(const UnaryParams __grid_constant__ p) {
  const std::int64_t count = numel(p.x);
  for (std::int64_t i = first_element(); i < count; i += next_element())
    static_cast<Word*>(p.y.data)[offset_of(p.y, i)] =
        static_cast<const Word*>(p.x.data)[offset_of(p.x, i)];
}

__global__ void __launch_bounds__(kThreads, 2)
    silu_bwd_kernel(const SiluBwdParams __grid_constant__ p) {
  const std::int64_t count = numel(p.x);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const float x = load(p.x, i);
    const float sigmoid = 1.0f / (1.0f + expf(-x));
    store(p.dx, i, load(p.dy, i) * (sigmoid * (1.0f + x * (1.0f - sigmoid))));
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    binary_kernel(const BinaryParams __grid_constant__ p) {
  const std::int64_t count = numel(p.a);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    std::int64_t j = i;  // the element of b that a[i] meets
    if (p.broadcast == Broadcast::per_sample) j = i / p.per_sample;
    if (p.broadcast == Broadcast::per_channel) j = i % p.a.cols;
    if (p.broadcast == Broadcast::per_sample_channel)
      j = i / p.per_sample * p.a.cols + i % p.a.cols;
    store(p.y, i, apply(p.kind, p.alpha * load(p.a, i), p.beta * load(p.b, j)));
  }
}

__global__ void __launch_bounds__(kThreads, 2) where_kernel(const WhereParams __grid_constant__ p) {
  const std::int64_t count = numel(p.a);
  for (std::int64_t i = first_element(); i < count; i += next_element())
    store(p.y, i, load(p.mask, i / p.per_mask) > 0.0f ? load(p.a, i) : load(p.b, i));
}

}  // namespace

void unary_v1(const UnaryParams& p, Stream stream) {
  const dim3 grid = blocks_for(p.x.rows * p.x.cols);
  if (p.kind != UnaryKind::copy || p.x.dtype != p.y.dtype)
    return launch({"unary", grid, kThreads}, stream, unary_kernel, p);
  switch (bytes_of(p.x.dtype)) {
    case 1:
      return launch({"copy_1", grid, kThreads}, stream, copy_kernel<std::uint8_t>, p);
    case 2:
      return launch({"copy_2", grid, kThreads}, stream, copy_kernel<std::uint16_t>, p);
    case 4:
      return launch({"copy_4", grid, kThreads}, stream, copy_kernel<std::uint32_t>, p);
    default:
      return launch({"copy_8", grid, kThreads}, stream, copy_kernel<std::uint64_t>, p);
  }
}

void silu_bwd_v1(const SiluBwdParams& p, Stream stream) {
  launch({"silu_bwd", blocks_for(p.x.rows * p.x.cols), kThreads}, stream, silu_bwd_kernel, p);
}

void binary_v1(const BinaryParams& p, Stream stream) {
  launch({"binary", blocks_for(p.a.rows * p.a.cols), kThreads}, stream, binary_kernel, p);
}

void where_v1(const WhereParams& p, Stream stream) {
  launch({"where", blocks_for(p.a.rows * p.a.cols), kThreads}, stream, where_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
