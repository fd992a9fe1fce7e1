// Softmax and cross entropy, v1_warp.
//
// math      y = exp(x - max) / sum exp(x - max), or x - max - log sum; loss = max + log sum -
//           x[label]
// shapes    x [M,K], one label and one loss per row
// mapping   a warp owns a row: lane l reads elements l, l + 32, ...; maxima and sums go through
//           shuffles, so a row needs no shared memory and no barrier; eight rows a block
// traffic   x once from memory (the second and third pass hit the caches), y once: 2 M K elements
// roofline  memory; for the classifier's [N,1000] the launch itself
// delta     the first row
// limits    no f64
#include "kernels/softmax/kernels.h"
#include "kernels/view.cuh"
#include "kernels/warp.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

constexpr int kRowsPerBlock = kThreads / 32;

dim3 blocks_of_rows(std::int64_t rows) {
  return dim3(static_cast<unsigned>((rows + kRowsPerBlock - 1) / kRowsPerBlock));
}
__device__ __forceinline__ std::int64_t own_row() {
  return static_cast<std::int64_t>(blockIdx.x) * kRowsPerBlock + threadIdx.x / 32;
}

struct Normaliser {
  float largest, sum;
};

// Largest element of a row, and the sum of exp(x - largest), in every lane.
__device__ __forceinline__ Normaliser normaliser(const View& x, std::int64_t row, int lane) {
  float largest = load(x, row, lane < x.cols ? lane : 0);
  for (std::int64_t i = lane; i < x.cols; i += 32) largest = larger(largest, load(x, row, i));
  largest = warp_max(largest);
  float sum = 0.0f;
  for (std::int64_t i = lane; i < x.cols; i += 32) sum += expf(load(x, row, i) - largest);
  return {largest, warp_sum(sum)};
}

__global__ void __launch_bounds__(kThreads, 2)
    softmax_fwd_kernel(const SoftmaxFwdParams __grid_constant__ p) {
  const std::int64_t row = own_row();
  if (row >= p.x.rows) return;  // the whole warp
  const int lane = static_cast<int>(threadIdx.x % 32);
  const Normaliser n = normaliser(p.x, row, lane);
  const float lse = n.largest + logf(n.sum);
  for (std::int64_t i = lane; i < p.x.cols; i += 32) {
    const float x = load(p.x, row, i);
    store(p.y, row, i, p.log ? x - lse : expf(x - n.largest) / n.sum);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    softmax_bwd_kernel(const SoftmaxBwdParams __grid_constant__ p) {
  const std::int64_t row = own_row();
  if (row >= p.y.rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sum = 0.0f;
  for (std::int64_t i = lane; i < p.y.cols; i += 32)
    sum += load(p.dy, row, i) * (p.log ? 1.0f : load(p.y, row, i));
  sum = warp_sum(sum);
  for (std::int64_t i = lane; i < p.y.cols; i += 32) {
    const float y = load(p.y, row, i), dy = load(p.dy, row, i);
    store(p.dx, row, i, p.log ? dy - expf(y) * sum : y * (dy - sum));
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_fwd_kernel(const CrossEntropyFwdParams __grid_constant__ p) {
  const std::int64_t row = own_row();
  if (row >= p.logits.rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const Normaliser n = normaliser(p.logits, row, lane);
  if (lane == 0) p.loss[row] = (n.largest + logf(n.sum)) - load(p.logits, row, p.labels[row]);
}

__global__ void __launch_bounds__(kThreads, 2)
    cross_entropy_bwd_kernel(const CrossEntropyBwdParams __grid_constant__ p) {
  const std::int64_t row = own_row();
  if (row >= p.logits.rows) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const Normaliser n = normaliser(p.logits, row, lane);
  const std::int64_t label = p.labels[row];
  const float dloss = p.dloss[row];
  for (std::int64_t i = lane; i < p.logits.cols; i += 32) {
    const float softmax = expf(load(p.logits, row, i) - n.largest) / n.sum;
    store(p.dlogits, row, i, (softmax - (i == label ? 1.0f : 0.0f)) * dloss);
  }
}

}  // namespace

void softmax_fwd_v1(const SoftmaxFwdParams& p, Stream stream) {
  launch({"softmax_fwd", blocks_of_rows(p.x.rows), kThreads}, stream, softmax_fwd_kernel, p);
}
void softmax_bwd_v1(const SoftmaxBwdParams& p, Stream stream) {
  launch({"softmax_bwd", blocks_of_rows(p.y.rows), kThreads}, stream, softmax_bwd_kernel, p);
}
void cross_entropy_fwd_v1(const CrossEntropyFwdParams& p, Stream stream) {
  launch({"cross_entropy_fwd", blocks_of_rows(p.logits.rows), kThreads}, stream,
         cross_entropy_fwd_kernel, p);
}
void cross_entropy_bwd_v1(const CrossEntropyBwdParams& p, Stream stream) {
  launch({"cross_entropy_bwd", blocks_of_rows(p.logits.rows), kThreads}, stream,
         cross_entropy_bwd_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
