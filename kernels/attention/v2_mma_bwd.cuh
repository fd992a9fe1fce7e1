#pragma once
// Attention, v2_mma: backward (Dao et al. 2022), without atomics.
//
// math      P = exp(scale q k^T - lse), dP = dO V^T, dS = P (dP - delta), delta = rowsum(dO O);
//           dV = P^T dO, dK = scale dS^T Q, dQ = scale dS K. Products of halves, sums f32; P and dS
//           are rounded to the halves' type between two products
// shapes    as the forward's; lse, delta [N,NH,T] f32
// mapping   two sweeps of one kernel. For dQ a block owns 64 queries and walks over the keys; for
//           dK, dV it owns 64 keys and walks over the queries. Either way, with (X, Y) the block's
//           own tiles (Q, dO or K, V) and (Z, W) those that pass (K, V or Q, dO), a warp's 16 rows are
//             P = exp(X Z^T), dS = P (Y W^T - delta);  first += dS Z;  second += P W (keys only)
//           all from registers, no matrix goes to memory. The first sweep makes delta of its own
//           queries, four lanes a row, while its tiles are on their way, and leaves it for the
//           second. Heads of 128 and more have two groups of warps for dK, dV, each with half of the
//           columns and scores of its own
// shared    the own tiles, and two stages of those that pass
// traffic   own tiles, O and results once; the others ceil(T / 64) times, from L2, for each sweep
// roofline  mma.sync's rate: 14 T^2 D flops for the two sweeps together (18 with two groups)
// delta     v1_plain sums channels one by one in f32 lanes, one token a block
// limits    the forward's; the order of sums is fixed, so results are the same bits in every run
#include "kernels/attention/v2_mma.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Rows of a tile that passes: what fits twice (four tiles) into 99 KiB beside the own two.
template <int kSize>
inline constexpr int kPassingRows = kSize <= 96    ? 64
                                    : kSize == 128 ? 32
                                                   : 16;

/// Groups of four warps that share the columns of the results.
template <int kSize, bool kOwnKeys>
inline constexpr int kGroups = kOwnKeys&& kSize >= 128 ? 2 : 1;

template <class T, int kSize>
struct FlashBwdStorage {
  Array<T, kOwnRows * kHeadPitch<kSize>> own0, own1;
  Array<T, 2 * kPassingRows<kSize> * kHeadPitch<kSize>> passing0, passing1;
};

/// delta = dO . O of a query, made by four neighbouring lanes and then in all of them; 0 beyond the
/// last query, whose lanes take part.
template <class T, int kSize>
__device__ __forceinline__ float delta_of_row(const AttentionBwdParams& a, std::int64_t row,
                                              int channel, bool there) {
  float sum = 0.0f;
  for (int d = own_lane() % 4 * 8; there && d < kSize; d += 32) {
    const Vec<T, 8> g =
        load_vec<8>(static_cast<const T*>(a.d_o.data) + row * a.d_o.row_stride + channel + d);
    const Vec<T, 8> y =
        load_vec<8>(static_cast<const T*>(a.o.data) + row * a.o.row_stride + channel + d);
#pragma unroll
    for (int e = 0; e < 8; ++e)
      sum = fmaf(static_cast<float>(g.v[e]), static_cast<float>(y.v[e]), sum);
  }
  for (int step = 2; step > 0; step /= 2) sum += __shfl_xor_sync(kFullMask, sum, step);
  return sum;
}

template <class T, int kSize, bool kOwnKeys>
__global__ void __launch_bounds__(128 * kGroups<kSize, kOwnKeys>, 1)
    flash_bwd_kernel(const AttentionBwdParams __grid_constant__ a) {
  constexpr int kBlock = 128 * kGroups<kSize, kOwnKeys>, kRows = kPassingRows<kSize>;
  constexpr int kColumns = kSize / kGroups<kSize, kOwnKeys>, kPitch = kHeadPitch<kSize>;
  auto& s = shared<FlashBwdStorage<T, kSize>>();
  const AttentionShape& z = a.z;
  const HeadTile own = own_tile(z);
  const std::int64_t row = std::int64_t{own.sample} * z.tokens;
  const std::int64_t head_row = (std::int64_t{own.sample} * z.heads + own.head) * z.tokens;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = own_lane();
  const int warp_row = warp % 4 * 16, column = warp / 4 * kColumns;
  const int q = head_channel(z, 0, own.head), k = head_channel(z, 1, own.head),
            v = head_channel(z, 2, own.head), o = own.head * kSize;

  const auto fetch_passing = [&](int first) {
    const int at = first / kRows % 2 * kRows * kPitch, count = z.tokens - first;
    fetch_tile<T, kSize, kRows, kBlock>(s.passing0, at, a.qkv, row + first, kOwnKeys ? q : k,
                                        count);
    fetch_tile<T, kSize, kRows, kBlock>(s.passing1, at, kOwnKeys ? a.d_o : a.qkv, row + first,
                                        kOwnKeys ? o : v, count);
  };
  const int own_count = z.tokens - own.first;
  fetch_tile<T, kSize, kOwnRows, kBlock>(s.own0, 0, a.qkv, row + own.first, kOwnKeys ? k : q,
                                         own_count);
  fetch_tile<T, kSize, kOwnRows, kBlock>(s.own1, 0, kOwnKeys ? a.qkv : a.d_o, row + own.first,
                                         kOwnKeys ? v : o, own_count);
  fetch_passing(0);
  cp_async_commit();

  // A query's lse in units of log 2, and delta. Beyond the last one P is 0.
  const auto lse_of = [&](int query) {
    return query < z.tokens ? a.lse[head_row + query] * kLog2E : INFINITY;
  };
  const auto delta_of = [&](int query) {
    return query < z.tokens ? a.delta[head_row + query] : 0.0f;
  };
  float own_lse[2] = {0.0f, 0.0f}, own_delta[2] = {0.0f, 0.0f};
  if constexpr (!kOwnKeys)
    for (int half = 0; half < 2; ++half) {
      const int query = own.first + warp_row + lane / 4 + half * 8;
      own_lse[half] = lse_of(query);
      own_delta[half] = delta_of_row<T, kSize>(a, row + query, o, query < z.tokens);
      if (lane % 4 == 0 && query < z.tokens) a.delta[head_row + query] = own_delta[half];
    }

  Tile<kColumns> first_sum = {};                  // dK or dQ
  Tile<kOwnKeys ? kColumns : 8> second_sum = {};  // dV
  const float scale = z.scale * kLog2E;
  for (int first = 0; first < z.tokens; first += kRows) {
    if (first + kRows < z.tokens) fetch_passing(first + kRows);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    const int at = first / kRows % 2 * kRows * kPitch;
    Tile<kRows> p = {}, ds = {};
    multiply_rows<T, kSize, kRows>(p, s.own0, warp_row * kPitch, s.passing0, at);
    multiply_rows<T, kSize, kRows>(ds, s.own1, warp_row * kPitch, s.passing1, at);
#pragma unroll
    for (int j = 0; j < kRows / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int passing = first + j * 8 + lane % 4 * 2 + e % 2;
        const float lse = kOwnKeys ? lse_of(passing) : own_lse[e / 2];
        const float delta = kOwnKeys ? delta_of(passing) : own_delta[e / 2];
        p[j][e] = passing < z.tokens ? exp2f(fmaf(p[j][e], scale, -lse)) : 0.0f;
        ds[j][e] = p[j][e] * (ds[j][e] - delta);
      }
    multiply_columns<T, kSize, kRows, kColumns>(first_sum, ds, s.passing0, at + column);
    if constexpr (kOwnKeys)
      multiply_columns<T, kSize, kRows, kColumns>(second_sum, p, s.passing1, at + column);
    __syncthreads();  // before the next copies overwrite the other stage
  }
  cp_async_wait<0>();

  const float scales[2] = {z.scale, z.scale}, ones[2] = {1.0f, 1.0f};
  const std::int64_t to = row + own.first + warp_row;
  store_rows<T, kColumns>(a.dqkv, to, (kOwnKeys ? k : q) + column, own_count - warp_row, first_sum,
                          scales);
  if constexpr (kOwnKeys)
    store_rows<T, kColumns>(a.dqkv, to, v + column, own_count - warp_row, second_sum, ones);
}

template <class T, int kSize>
void flash_bwd(const AttentionBwdParams& p, Stream stream) {
  const AttentionShape& z = p.z;
  constexpr std::size_t kShared = shared_bytes<FlashBwdStorage<T, kSize>>();
  launch({"attention_dq_mma", tiles_of(z), 128 * kGroups<kSize, false>, kShared}, stream,
         flash_bwd_kernel<T, kSize, false>, p);
  launch({"attention_dkv_mma", tiles_of(z), 128 * kGroups<kSize, true>, kShared}, stream,
         flash_bwd_kernel<T, kSize, true>, p);
}

template <int kSize>
void attention_bwd_v2(const AttentionBwdParams& p, Stream stream) {
  if (p.qkv.dtype == DType::f16) return flash_bwd<f16, kSize>(p, stream);
  flash_bwd<bf16, kSize>(p, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
