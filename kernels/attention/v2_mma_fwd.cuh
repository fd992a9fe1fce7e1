#pragma once
// Attention, v2_mma: forward (Dao et al. 2022, with FlashAttention-2's order of loops).
//
// math      S = scale q k^T, P = softmax(S), O = P V; products of halves, sums and softmax f32.
//           Per row the largest score m and the sum l so far are kept; a larger m rescales l and O
// shapes    qkv [N,T,3C] in either order, o [N,T,C], C = NH kSize; kSize 64, 96, 128, 192, 256
// mapping   a block of 4 warps owns 64 queries of one head, a warp 16 of them, and walks over the
//           keys in tiles of kKeys. Scores stay in the warp's registers and are the left operand of
//           P V from there; a row's maximum and sum are reduced over the four lanes that share it
// shared    q, one tile of k, one of v. The next v is loaded while S is computed, the next k while
//           P V is, so a single buffer of each is enough and two to four blocks fit on an SM
// traffic   q and o once; k and v ceil(T / 64) times, from L2: 2 T^2 D / 64 elements a head
// roofline  mma.sync's rate: 4 T^2 D flops; at T = 64 a block is one tile and latency decides
// delta     v1_plain computes one query a block in f32 lanes and reads all k and v for it; here 64
//           queries share every load, and the products run on tensor cores
// limits    f16 and bf16; every query asks; rows aligned to 16 bytes
#include "kernels/attention/v2_mma.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr int kFlashThreads = 128;

/// Keys of a tile: what keeps kSize / 2 sums a lane and its scores within 255 registers.
template <int kSize>
inline constexpr int kFlashKeys = kSize <= 128 ? 64 : 32;

template <class T, int kSize>
struct FlashStorage {
  Array<T, kOwnRows * kHeadPitch<kSize>> q;
  Array<T, kFlashKeys<kSize> * kHeadPitch<kSize>> k, v;
};

/// The largest (or the sum) of the four lanes that share a row.
__device__ __forceinline__ float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullMask, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullMask, x, 2));
}
__device__ __forceinline__ float row_sum(float x) {
  x += __shfl_xor_sync(kFullMask, x, 1);
  return x + __shfl_xor_sync(kFullMask, x, 2);
}

template <class T, int kSize>
__global__ void __launch_bounds__(kFlashThreads, 1)
    flash_fwd_kernel(const AttentionFwdParams __grid_constant__ a) {
  constexpr int kKeys = kFlashKeys<kSize>;
  auto& s = shared<FlashStorage<T, kSize>>();
  const AttentionShape& z = a.z;
  const HeadTile own = own_tile(z);
  const std::int64_t row = std::int64_t{own.sample} * z.tokens;
  const int k_channel = head_channel(z, 1, own.head), v_channel = head_channel(z, 2, own.head);
  const int warp_row = static_cast<int>(threadIdx.x / 32) * 16, lane = own_lane();

  fetch_tile<T, kSize, kOwnRows, kFlashThreads>(s.q, 0, a.qkv, row + own.first,
                                                head_channel(z, 0, own.head), z.tokens - own.first);
  fetch_tile<T, kSize, kKeys, kFlashThreads>(s.k, 0, a.qkv, row, k_channel, z.tokens);
  cp_async_commit();

  Tile<kSize> out = {};
  float largest[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};  // of two rows
  const float scale = z.scale * kLog2E;                              // 2^x is one instruction
  for (int first = 0; first < z.tokens; first += kKeys) {
    const int count = z.tokens - first;
    cp_async_wait<0>();
    __syncthreads();  // k is there, and everybody has read the last v
    fetch_tile<T, kSize, kKeys, kFlashThreads>(s.v, 0, a.qkv, row + first, v_channel, count);
    cp_async_commit();
    Tile<kKeys> p = {};
    multiply_rows<T, kSize, kKeys>(p, s.q, warp_row * kHeadPitch<kSize>, s.k, 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float now = largest[half];
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
        for (int e = half * 2; e < half * 2 + 2; ++e) {
          p[j][e] = j * 8 + lane % 4 * 2 + e % 2 < count ? p[j][e] * scale : -INFINITY;
          now = fmaxf(now, p[j][e]);
        }
      now = row_max(now);
      const float shrink = exp2f(largest[half] - now);  // 0 for the first tile
      largest[half] = now;
      sum[half] *= shrink;
#pragma unroll
      for (int j = 0; j < kSize / 8; ++j) {
        out[j][half * 2] *= shrink;
        out[j][half * 2 + 1] *= shrink;
      }
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
        for (int e = half * 2; e < half * 2 + 2; ++e) {
          p[j][e] = exp2f(p[j][e] - now);
          sum[half] += p[j][e];
        }
    }
    cp_async_wait<0>();
    __syncthreads();  // v is there, and everybody has read k
    if (count > kKeys)
      fetch_tile<T, kSize, kKeys, kFlashThreads>(s.k, 0, a.qkv, row + first + kKeys, k_channel,
                                                 count - kKeys);
    cp_async_commit();
    multiply_columns<T, kSize, kKeys, kSize>(out, p, s.v, 0);
  }

  float inverse[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] = row_sum(sum[half]);
    inverse[half] = 1.0f / sum[half];
    const int query = own.first + warp_row + lane / 4 + half * 8;
    if (a.lse && lane % 4 == 0 && query < z.tokens)
      a.lse[(std::int64_t{own.sample} * z.heads + own.head) * z.tokens + query] =
          (largest[half] + log2f(sum[half])) * kLn2;
  }
  store_rows<T, kSize>(a.o, row + own.first + warp_row, own.head * kSize,
                       z.tokens - own.first - warp_row, out, inverse);
}

template <int kSize>
void attention_fwd_v2(const AttentionFwdParams& p, Stream stream) {
  if (p.qkv.dtype == DType::f16)
    return launch({"attention_fwd_mma_f16", tiles_of(p.z), kFlashThreads,
                   shared_bytes<FlashStorage<f16, kSize>>()},
                  stream, flash_fwd_kernel<f16, kSize>, p);
  launch({"attention_fwd_mma_bf16", tiles_of(p.z), kFlashThreads,
          shared_bytes<FlashStorage<bf16, kSize>>()},
         stream, flash_fwd_kernel<bf16, kSize>, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
