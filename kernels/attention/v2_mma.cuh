#pragma once
// What the tensor-core kernels of attention share: tiles of one head in shared memory, and the two
// products that a warp makes with them.
//
// A tile is rows of kSize halves (queries or keys of one head), kSize + 8 apart: an odd number of
// 16-byte vectors, so that the eight rows of an ldmatrix stand in different banks. A warp owns 16
// rows. Its scores are in the layout of mma.sync's results, which is also that of its left operand:
// scores become probabilities in registers and go into the next product from there.
#include "kernels/attention/kernels.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr int kOwnRows = 64;  ///< rows of a block's own tile: four warps of 16
inline constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

template <int kSize>
inline constexpr int kHeadPitch = kSize + 8;

/// A lane's share of a 16 x kColumns result: columns j * 8 + lane % 4 * 2 + {0, 1} of rows lane / 4
/// (elements 0 and 1) and lane / 4 + 8 (2 and 3).
template <int kColumns>
using Tile = float[kColumns / 8][4];

__device__ __forceinline__ int own_lane() { return static_cast<int>(threadIdx.x % 32); }

/// Starts copying rows [row, row + kRows) of one head's channels to a tile; rows from `count` on
/// become zero.
template <class T, int kSize, int kRows, int kBlock, int kArray>
__device__ __forceinline__ void fetch_tile(Array<T, kArray>& to, int at, const View& from,
                                           std::int64_t row, int channel, int count) {
  constexpr int kVectors = kSize / 8;
  static_assert(kRows * kVectors % kBlock == 0 || kRows * kVectors > kBlock);
  const T* source = static_cast<const T*>(from.data) + row * from.row_stride + channel;
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kVectors; i += kBlock) {
    const int r = i / kVectors, v = i - r * kVectors;
    const bool there = r < count;
    cp_async<16>(to, at + r * kHeadPitch<kSize> + v * 8,
                 source + (there ? r * from.row_stride : 0) + v * 8, there ? 16 : 0);
  }
}

/// sum += a b^T for 16 rows of the tile at `a_at` and kRows of the tile at `b_at`.
template <class T, int kSize, int kRows, int kArrayA, int kArrayB>
__device__ __forceinline__ void multiply_rows(Tile<kRows>& sum, Array<T, kArrayA>& a, int a_at,
                                              Array<T, kArrayB>& b, int b_at) {
  constexpr int kPitch = kHeadPitch<kSize>;
  const int lane = own_lane();
#pragma unroll
  for (int k = 0; k < kSize; k += 16) {
    std::uint32_t left[4];
    ldmatrix_x4(left, a, a_at + lane % 16 * kPitch + k + lane / 16 * 8);
#pragma unroll
    for (int j = 0; j < kRows / 16; ++j) {
      std::uint32_t right[4];
      ldmatrix_x4(right, b,
                  b_at + (j * 16 + lane % 8 + lane / 16 * 8) * kPitch + k + lane / 8 % 2 * 8);
      const std::uint32_t low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
      mma(T{}, sum[j * 2], left, low);
      mma(T{}, sum[j * 2 + 1], left, high);
    }
  }
}

/// sum += p b for a lane's 16 x kRows factors `p`, rounded to T, and kColumns of the kRows rows of
/// the tile at `b_at`.
template <class T, int kSize, int kRows, int kColumns, int kArray>
__device__ __forceinline__ void multiply_columns(Tile<kColumns>& sum, const Tile<kRows>& p,
                                                 Array<T, kArray>& b, int b_at) {
  constexpr int kPitch = kHeadPitch<kSize>;
  const int lane = own_lane();
#pragma unroll
  for (int k = 0; k < kRows / 16; ++k) {
    const auto &first = p[k * 2], &second = p[k * 2 + 1];
    const std::uint32_t left[4] = {pack2(T{}, first[0], first[1]), pack2(T{}, first[2], first[3]),
                                   pack2(T{}, second[0], second[1]),
                                   pack2(T{}, second[2], second[3])};
#pragma unroll
    for (int j = 0; j < kColumns / 16; ++j) {
      std::uint32_t right[4];
      ldmatrix_x4_trans(right, b, b_at + (k * 16 + lane % 16) * kPitch + j * 16 + lane / 16 * 8);
      const std::uint32_t low[2] = {right[0], right[1]}, high[2] = {right[2], right[3]};
      mma(T{}, sum[j * 2], left, low);
      mma(T{}, sum[j * 2 + 1], left, high);
    }
  }
}

/// Writes a warp's 16 rows, each times its factor, from `row` on; rows from `count` on are dropped.
template <class T, int kColumns>
__device__ __forceinline__ void store_rows(const View& to, std::int64_t row, int channel, int count,
                                           const Tile<kColumns>& value, const float (&factor)[2]) {
  const int lane = own_lane();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = lane / 4 + half * 8;
    if (r >= count) continue;
    T* at = static_cast<T*>(to.data) + (row + r) * to.row_stride + channel + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j)
      store_vec(at + j * 8, Vec<T, 2>{T(value[j][half * 2] * factor[half]),
                                      T(value[j][half * 2 + 1] * factor[half])});
  }
}

/// Which tile of which head a block owns. Blocks of one head are neighbours, so that they share its
/// rows in L2.
struct HeadTile {
  int first, head, sample;
};
__device__ __forceinline__ HeadTile own_tile(const AttentionShape& z) {
  const int tiles = (z.tokens + kOwnRows - 1) / kOwnRows, index = static_cast<int>(blockIdx.x);
  const int rest = index / tiles;
  return {(index - rest * tiles) * kOwnRows, rest % z.heads, rest / z.heads};
}
inline unsigned tiles_of(const AttentionShape& z) {
  return static_cast<unsigned>(z.samples * z.heads * ((z.tokens + kOwnRows - 1) / kOwnRows));
}
__device__ __forceinline__ int head_channel(const AttentionShape& z, int part, int head) {
  return part * z.part_stride + head * z.head_stride;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
