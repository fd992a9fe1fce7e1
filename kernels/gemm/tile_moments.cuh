#pragma once
// Mean and squared deviations of each sample's channels, from tiles whose rows may be a part of a
// sample, one sample or several.
//
// While a tile is stored, every sixteen rows of a column give a piece. Pieces lie within samples
// (the host asks that sixteen divides the pixels), so the pieces of a tile give, for each sample
// that it touches, a share. A sample within one tile is done with that. Of another the last of its
// tiles joins the shares. All of it by Chan's formula and in orders that are fixed: rows, then
// tiles.
#include "kernels/gemm/mma.h"
#include "kernels/group_norm/moments.cuh"
#include "kernels/last_block.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

template <int kRows, int kWidth>
struct Pieces {
  static constexpr int kCount = kRows / kPieceRows;
  Array<float, kCount> rows;
  Array<float, kCount * kWidth> mean, m2;
};

/// A column of pieces [begin, end), joined.
template <int kRows, int kWidth>
__device__ __forceinline__ Moments join_pieces(Pieces<kRows, kWidth>& pieces, int begin, int end,
                                               int column) {
  Moments all{0.0f, 0.0f, 0.0f};
  for (int i = begin; i < end; ++i)
    all = merge(all,
                {pieces.rows[i], pieces.mean[i * kWidth + column], pieces.m2[i * kWidth + column]});
  return all;
}

/// The rows of a sample, and the tiles that have some of them.
template <int kRows>
struct SampleRows {
  int begin, end, first_tile, tiles;
  __device__ __forceinline__ SampleRows(int sample, int pixels)
      : begin(sample * pixels),
        end(begin + pixels),
        first_tile(begin / kRows),
        tiles((end - 1) / kRows + 1 - first_tile) {}
  /// How many rows tile first_tile + i has.
  __device__ __forceinline__ int rows_of(int i) const {
    const int from = (first_tile + i) * kRows, to = from + kRows;
    return (to < end ? to : end) - (from > begin ? from : begin);
  }
};

/// A share of a sample: that of its tile `i`.
__device__ __forceinline__ float* share_of(const MmaParams& p, int sample, int i, int n) {
  return p.shares + ((std::int64_t{sample} * p.most_shares + i) * p.z.k + n) * 2;
}

/// The shares of a sample become pieces: team i of the block joins tiles i, i + teams, ...
template <int kRows, int kWidth>
__device__ __forceinline__ void gather_shares(const MmaParams& p, Pieces<kRows, kWidth>& pieces,
                                              const SampleRows<kRows>& s, int sample, int n0) {
  constexpr int kTeams = Pieces<kRows, kWidth>::kCount, kTeam = kThreads / kTeams;
  constexpr int kColumns = (kWidth + kTeam - 1) / kTeam;  // of a thread, joined side by side
  const int team = static_cast<int>(threadIdx.x) / kTeam;
  const int lane = static_cast<int>(threadIdx.x) % kTeam;
  float rows = 0.0f;
  Moments all[kColumns] = {};
  for (int tile = team; tile < s.tiles; tile += kTeams) {
    const auto more = static_cast<float>(s.rows_of(tile));
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const int column = lane + i * kTeam;
      if (column >= kWidth || n0 + column >= p.z.k) continue;
      const Vec<float, 2> share = load_vec<2>(share_of(p, sample, tile, n0 + column));
      all[i] = merge(all[i], {more, share.v[0], share.v[1]});
    }
    rows += more;
  }
  if (lane == 0) pieces.rows[team] = rows;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const int column = lane + i * kTeam;
    if (column >= kWidth) continue;
    pieces.mean[team * kWidth + column] = all[i].mean;
    pieces.m2[team * kWidth + column] = all[i].m2;
  }
}

/// From a tile's pieces to the moments of the samples that it touches. All threads of the block
/// come.
template <int kRows, int kWidth>
__device__ __forceinline__ void finish_moments(const MmaParams& p, Pieces<kRows, kWidth>& pieces,
                                               Array<std::uint32_t, 1>& flag, int n0) {
  const int pixels = p.z.p * p.z.q, all_rows = p.z.n * pixels;
  const int tile = static_cast<int>(blockIdx.x), m0 = tile * kRows;
  const int end = m0 + kRows < all_rows ? m0 + kRows : all_rows;
  const int first = m0 / pixels, last = (end - 1) / pixels;
  const int column = static_cast<int>(threadIdx.x), n = n0 + column;
  const bool mine = column < kWidth && n < p.z.k;
  const auto store_stats = [&](int sample, const Moments& m) {
    float* to = p.stats + (std::int64_t{sample} * p.z.k + n) * 2;
    to[0] = m.mean;
    to[1] = m.m2;
  };
  for (int sample = first; mine && sample <= last; ++sample) {
    const SampleRows<kRows> s(sample, pixels);
    const int from = s.begin > m0 ? s.begin : m0, to = s.end < end ? s.end : end;
    const Moments own =
        join_pieces(pieces, (from - m0) / kPieceRows, (to - m0) / kPieceRows, column);
    if (s.tiles == 1)
      store_stats(sample, own);
    else
      store_vec(share_of(p, sample, tile - s.first_tile, n), Vec<float, 2>{{own.mean, own.m2}});
  }
  for (int sample = first; sample <= last; ++sample) {
    const SampleRows<kRows> s(sample, pixels);
    if (s.tiles == 1) continue;
    std::uint32_t* counter = p.sample_counters + std::int64_t{sample} * gridDim.y + blockIdx.y;
    if (!last_block(flag, counter, s.tiles)) continue;
    gather_shares(p, pieces, s, sample, n0);
    __syncthreads();
    if (mine) store_stats(sample, join_pieces(pieces, 0, Pieces<kRows, kWidth>::kCount, column));
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
