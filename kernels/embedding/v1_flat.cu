// Embeddings, v1_flat.
//
// math      y[n] = addend[n] + table[index[n]]; dtable[v] = sum over n with index[n] == v of dy[n];
//           y[n] = [cos(t f) | sin(t f)], f_i = exp(-ln(max_period) i / half)
// shapes    table [V,C], y [N,C]
// mapping   a thread per element of the output. The backward's thread (v, c) looks through all N
//           indices: no atomics, and the order of the sum is that of n
// traffic   forward 3 N C elements; backward V C written, N C read, the indices from the cache
// roofline  memory, or the launch at the batch sizes there are
// delta     the first row
// limits    no f64; the backward does V N comparisons per channel
#include "kernels/embedding/kernels.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    embedding_fwd_kernel(const EmbeddingFwdParams __grid_constant__ p) {
  const std::int64_t count = numel(p.y);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t n = i / p.y.cols, c = i - n * p.y.cols;
    const float addend = p.addend.data ? load(p.addend, n, c) : 0.0f;
    store(p.y, n, c, load(p.table, p.index[n], c) + addend);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    embedding_bwd_kernel(const EmbeddingBwdParams __grid_constant__ p) {
  const std::int64_t count = numel(p.dtable);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t v = i / p.dtable.cols, c = i - v * p.dtable.cols;
    float sum = 0.0f;
    for (std::int64_t n = 0; n < p.dy.rows; ++n)
      if (p.index[n] == v) sum += load(p.dy, n, c);
    store(p.dtable, v, c, sum);
  }
}

// e^x as the reference row computes it, bit for bit: at t = 1000 the last bit of a frequency moves
// the cosine by 1e-4 (see kernels/embedding/reference.h).
__device__ __forceinline__ float frequency_exp(float x) {
  const float n = nearbyintf(x * 1.44269504f);
  const float r = fmaf(n, -1.42860677e-6f, fmaf(n, -0.693145752f, x));
  float q = 1 / 5040.0f;
  q = fmaf(q, r, 1 / 720.0f);
  q = fmaf(q, r, 1 / 120.0f);
  q = fmaf(q, r, 1 / 24.0f);
  q = fmaf(q, r, 1 / 6.0f);
  q = fmaf(q, r, 1 / 2.0f);
  return ldexpf(1.0f + fmaf(r * r, q, r), static_cast<int>(n));
}

__global__ void __launch_bounds__(kThreads, 2)
    timestep_embedding_kernel(const TimestepEmbeddingParams __grid_constant__ p) {
  const std::int64_t dim = p.y.cols, half = dim / 2;
  const std::int64_t count = numel(p.y);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t n = i / dim, c = i - n * dim;
    if (c == 2 * half) {  // of an odd dim
      store(p.y, n, c, 0.0f);
      continue;
    }
    const std::int64_t k = c < half ? c : c - half;
    const float product = p.log_period * static_cast<float>(k);
    const float angle = load(p.t, n) * frequency_exp(product / static_cast<float>(half));
    store(p.y, n, c, c < half ? cosf(angle) : sinf(angle));
  }
}

}  // namespace

void embedding_fwd_v1(const EmbeddingFwdParams& p, Stream stream) {
  launch({"embedding_fwd", blocks_for(p.y.rows * p.y.cols, 1), kThreads}, stream,
         embedding_fwd_kernel, p);
}
void embedding_bwd_v1(const EmbeddingBwdParams& p, Stream stream) {
  launch({"embedding_bwd", blocks_for(p.dtable.rows * p.dtable.cols, 1), kThreads}, stream,
         embedding_bwd_kernel, p);
}
void timestep_embedding_v1(const TimestepEmbeddingParams& p, Stream stream) {
  launch({"timestep_embedding", blocks_for(p.y.rows * p.y.cols, 1), kThreads}, stream,
         timestep_embedding_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
