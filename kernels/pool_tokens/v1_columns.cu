// The tokens of the attention pool, v1_columns.
//
// math      y[n,0] = mean_t x[n,t] + pos[0], y[n,1+t] = x[n,t] + pos[1+t]; dx[n,t] = dy[n,1+t] +
//           dy[n,0] / T; dpos[t] = sum_n dy[n,t]
// shapes    x [N,T,C], y [N,1+T,C]
// mapping   forward: a thread owns a column (n, c) and walks its tokens, neighbouring lanes
//           neighbouring channels. Backward: a thread per element; dpos's thread walks the samples
// traffic   x and y once each: N (1 + 2T) C elements
// roofline  memory; N C threads only, so for small batches the latency of T loads
// delta     the first row
// limits    no f64
#include "kernels/pool_tokens/kernels.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    pool_tokens_fwd_kernel(const PoolTokensFwdParams __grid_constant__ p) {
  const std::int64_t channels = p.x.cols;
  for (std::int64_t i = first_element(); i < p.samples * channels; i += next_element()) {
    const std::int64_t n = i / channels, c = i - n * channels;
    float sum = 0.0f;
    for (std::int64_t t = 0; t < p.tokens; ++t) {
      const float x = load(p.x, n * p.tokens + t, c);
      sum += x;
      store(p.y, n * (1 + p.tokens) + 1 + t, c, x + load(p.pos, 1 + t, c));
    }
    store(p.y, n * (1 + p.tokens), c, sum / static_cast<float>(p.tokens) + load(p.pos, 0, c));
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    pool_tokens_dx_kernel(const PoolTokensBwdParams __grid_constant__ p) {
  const std::int64_t channels = p.dy.cols;
  for (std::int64_t i = first_element(); i < p.samples * p.tokens * channels; i += next_element()) {
    const std::int64_t row = i / channels, c = i - row * channels;
    const std::int64_t n = row / p.tokens, t = row - n * p.tokens;
    const float mean = load(p.dy, n * (1 + p.tokens), c) / static_cast<float>(p.tokens);
    store(p.dx, row, c, load(p.dy, n * (1 + p.tokens) + 1 + t, c) + mean);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    pool_tokens_dpos_kernel(const PoolTokensBwdParams __grid_constant__ p) {
  const std::int64_t channels = p.dy.cols;
  for (std::int64_t i = first_element(); i < (1 + p.tokens) * channels; i += next_element()) {
    const std::int64_t t = i / channels, c = i - t * channels;
    float sum = 0.0f;
    for (std::int64_t n = 0; n < p.samples; ++n) sum += load(p.dy, n * (1 + p.tokens) + t, c);
    store(p.dpos, t, c, sum);
  }
}

}  // namespace

void pool_tokens_fwd_v1(const PoolTokensFwdParams& p, Stream stream) {
  launch({"pool_tokens_fwd", blocks_for(p.samples * p.x.cols, 1), kThreads}, stream,
         pool_tokens_fwd_kernel, p);
}
void pool_tokens_bwd_v1(const PoolTokensBwdParams& p, Stream stream) {
  if (p.dx.data)
    launch({"pool_tokens_dx", blocks_for(p.samples * p.tokens * p.dy.cols), kThreads}, stream,
           pool_tokens_dx_kernel, p);
  if (p.dpos.data)
    launch({"pool_tokens_dpos", blocks_for((1 + p.tokens) * p.dy.cols, 1), kThreads}, stream,
           pool_tokens_dpos_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
