// Attention, v1_plain: forward and backward.
//
// math      S = scale q k^T, P = softmax(S), O = P V; dV = P^T dO, dP = dO V^T,
//           dS = P (dP - rowsum(dO O)), dq = scale dS k, dk = scale dS^T q
// shapes    qkv [N,T,3C] in either order, o [N,T,C] or [N,1,C] with one query; any head size
// mapping   a block owns one query (one key, for dk and dv). First a thread per key (query) makes
//           its score from shared memory's q, then a block-wide softmax, then a thread per channel
//           sums over the keys (queries) in order. One row of P exists at a time, in shared memory
// traffic   every block reads all of k and v: 2 T^2 D elements a head, from L2
// roofline  L2 and latency
// delta     the first row: the readable form. It is the fallback for every head size
// limits    no f64; T <= 4096, D <= 1024; lanes read k with a stride of 3C elements
#include "kernels/attention/kernels.h"
#include "kernels/view.cuh"
#include "kernels/warp.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

struct Storage {
  Array<float, kMaxTokens> p, ds;
  Array<float, kMaxHeadSize> q, d_o;
  BlockStorage<float> block;
};

// The block's query (or key), head and sample.
struct Place {
  int token, head, sample;
};
__device__ __forceinline__ Place own_place(int tokens, int heads) {
  const int index = static_cast<int>(blockIdx.x), rest = index / tokens;
  return {index - rest * tokens, rest % heads, rest / heads};
}

__device__ __forceinline__ std::int64_t row_of(const AttentionShape& z, int sample, int token) {
  return std::int64_t{sample} * z.tokens + token;
}
__device__ __forceinline__ int channel_of(const AttentionShape& z, int part, int head) {
  return part * z.part_stride + head * z.head_stride;
}

// One head's channels of a row, into shared memory.
template <int kSize>
__device__ __forceinline__ void fetch(Array<float, kSize>& to, const View& from, std::int64_t row,
                                      int channel, int count) {
  for (int d = static_cast<int>(threadIdx.x); d < count; d += kThreads)
    to[d] = load(from, row, channel + d);
}

template <int kSize>
__device__ __forceinline__ float dot(Array<float, kSize>& a, const View& b, std::int64_t row,
                                     int channel, int count) {
  float sum = 0.0f;
  for (int d = 0; d < count; ++d) sum = fmaf(a[d], load(b, row, channel + d), sum);
  return sum;
}

__global__ void __launch_bounds__(kThreads, 2)
    attention_fwd_kernel(const AttentionFwdParams __grid_constant__ a) {
  auto& s = shared<Storage>();
  const AttentionShape& z = a.z;
  const Place at = own_place(z.queries, z.heads);
  const int q = channel_of(z, 0, at.head), k = channel_of(z, 1, at.head),
            v = channel_of(z, 2, at.head);
  fetch(s.q, a.qkv, row_of(z, at.sample, at.token), q, z.head_size);
  __syncthreads();
  float largest = -INFINITY;
  for (int j = static_cast<int>(threadIdx.x); j < z.tokens; j += kThreads) {
    const float score = z.scale * dot(s.q, a.qkv, row_of(z, at.sample, j), k, z.head_size);
    s.p[j] = score;
    largest = larger(largest, score);
  }
  largest = block_max(s.block, largest);
  float sum = 0.0f;
  for (int j = static_cast<int>(threadIdx.x); j < z.tokens; j += kThreads) {
    const float e = expf(s.p[j] - largest);
    s.p[j] = e;
    sum += e;
  }
  sum = block_sum(s.block, sum);  // and its barrier: all of p is there
  for (int d = static_cast<int>(threadIdx.x); d < z.head_size; d += kThreads) {
    float o = 0.0f;
    for (int j = 0; j < z.tokens; ++j)
      o = fmaf(s.p[j], load(a.qkv, row_of(z, at.sample, j), v + d), o);
    store(a.o, std::int64_t{at.sample} * z.queries + at.token, at.head * z.head_size + d, o / sum);
  }
  if (a.lse && threadIdx.x == 0) a.lse[blockIdx.x] = largest + logf(sum);
}

// dq of the block's token, zero for one that asked nothing; delta = do . o is left for dk and dv.
__global__ void __launch_bounds__(kThreads, 2)
    attention_dq_kernel(const AttentionBwdParams __grid_constant__ a) {
  auto& s = shared<Storage>();
  const AttentionShape& z = a.z;
  const Place at = own_place(z.tokens, z.heads);
  const std::int64_t row = row_of(z, at.sample, at.token);
  const int q = channel_of(z, 0, at.head), k = channel_of(z, 1, at.head),
            v = channel_of(z, 2, at.head);
  const bool asked = at.token < z.queries;  // alike for the whole block
  if (asked) {
    const std::int64_t query = std::int64_t{at.sample} * z.queries + at.token;
    const std::int64_t head_row = (std::int64_t{at.sample} * z.heads + at.head) * z.queries;
    const float lse = a.lse[head_row + at.token];
    fetch(s.q, a.qkv, row, q, z.head_size);
    fetch(s.d_o, a.d_o, query, at.head * z.head_size, z.head_size);
    float own = 0.0f;  // of the channels that the thread has fetched
    for (int d = static_cast<int>(threadIdx.x); d < z.head_size; d += kThreads)
      own = fmaf(s.d_o[d], load(a.o, query, at.head * z.head_size + d), own);
    const float delta = block_sum(s.block, own);  // and its barrier: q and d_o are there
    if (threadIdx.x == 0) a.delta[head_row + at.token] = delta;
    for (int j = static_cast<int>(threadIdx.x); j < z.tokens; j += kThreads) {
      const std::int64_t key = row_of(z, at.sample, j);
      const float p = expf(z.scale * dot(s.q, a.qkv, key, k, z.head_size) - lse);
      s.ds[j] = p * (dot(s.d_o, a.qkv, key, v, z.head_size) - delta) * z.scale;
    }
    __syncthreads();
  }
  for (int d = static_cast<int>(threadIdx.x); d < z.head_size; d += kThreads) {
    float dq = 0.0f;
    for (int j = 0; asked && j < z.tokens; ++j)
      dq = fmaf(s.ds[j], load(a.qkv, row_of(z, at.sample, j), k + d), dq);
    store(a.dqkv, row, q + d, dq);
  }
}

// dk and dv of the block's token, whose k and v stand in s.q and s.d_o.
__global__ void __launch_bounds__(kThreads, 2)
    attention_dkv_kernel(const AttentionBwdParams __grid_constant__ a) {
  auto& s = shared<Storage>();
  const AttentionShape& z = a.z;
  const Place at = own_place(z.tokens, z.heads);
  const std::int64_t row = row_of(z, at.sample, at.token);
  const int q = channel_of(z, 0, at.head), k = channel_of(z, 1, at.head),
            v = channel_of(z, 2, at.head), o = at.head * z.head_size;
  const std::int64_t head_row = (std::int64_t{at.sample} * z.heads + at.head) * z.queries;
  fetch(s.q, a.qkv, row, k, z.head_size);
  fetch(s.d_o, a.qkv, row, v, z.head_size);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < z.queries; i += kThreads) {
    const std::int64_t query = std::int64_t{at.sample} * z.queries + i;
    const float p = expf(z.scale * dot(s.q, a.qkv, row_of(z, at.sample, i), q, z.head_size) -
                         a.lse[head_row + i]);
    s.p[i] = p;
    s.ds[i] = p * (dot(s.d_o, a.d_o, query, o, z.head_size) - a.delta[head_row + i]) * z.scale;
  }
  __syncthreads();
  for (int d = static_cast<int>(threadIdx.x); d < z.head_size; d += kThreads) {
    float dk = 0.0f, dv = 0.0f;
    for (int i = 0; i < z.queries; ++i) {
      dk = fmaf(s.ds[i], load(a.qkv, row_of(z, at.sample, i), q + d), dk);
      dv = fmaf(s.p[i], load(a.d_o, std::int64_t{at.sample} * z.queries + i, o + d), dv);
    }
    store(a.dqkv, row, k + d, dk);
    store(a.dqkv, row, v + d, dv);
  }
}

}  // namespace

void attention_fwd_v1(const AttentionFwdParams& p, Stream stream) {
  const AttentionShape& z = p.z;
  launch({"attention_fwd", static_cast<unsigned>(z.samples * z.heads * z.queries), kThreads,
          shared_bytes<Storage>()},
         stream, attention_fwd_kernel, p);
}

void attention_bwd_v1(const AttentionBwdParams& p, Stream stream) {
  const AttentionShape& z = p.z;
  const auto blocks = static_cast<unsigned>(z.samples * z.heads * z.tokens);
  launch({"attention_dq", blocks, kThreads, shared_bytes<Storage>()}, stream, attention_dq_kernel,
         p);
  launch({"attention_dkv", blocks, kThreads, shared_bytes<Storage>()}, stream, attention_dkv_kernel,
         p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
