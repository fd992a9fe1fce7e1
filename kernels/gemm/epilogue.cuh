#pragma once
// What happens to the sums of a tile: bias, the skip's bias, residual, one rounding, and pieces of
// the moments of what was stored (kernels/gemm/tile_moments.cuh). Sums pass through shared memory
// in slices of a few rows, so that a thread holds four neighbouring channels and a warp writes
// whole lines.
#include "kernels/conv2d/problem.cuh"
#include "kernels/gemm/tile_moments.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// kRows rows of sums. The pitch of a tile (its width a multiple of 32) is 8 mod 32 words: two
/// columns of four rows each, as half a warp writes its fragments, fall into 32 banks.
template <int kRows, int kWidth>
struct Slice {
  static constexpr int kPitch = kWidth + 8;
  Array<float, kRows * kPitch> sums;
};

/// Shared memory of the epilogue. `last` is last_block()'s.
template <int kRows, int kWidth, int kSliceRows>
struct Finishing {
  Slice<kSliceRows, kWidth> slice;
  Pieces<kRows, kWidth> pieces;
  Array<std::uint32_t, 1> last;
};

/// Where row m of the product stands in y.
__device__ __forceinline__ std::int64_t out_row(const MmaParams& p, int m) {
  if (p.out_stride == 1) return m;
  const Pixel at = pixel_of(m, p.z.p, p.z.q);
  return (std::int64_t{at.n} * p.out_h + at.p * p.out_stride + p.out_p) * p.out_w +
         at.q * p.out_stride + p.out_q;
}

__device__ __forceinline__ std::int64_t residual_row(const MmaParams& p, int m) {
  if (!p.residual_up2x) return m;
  const Pixel at = pixel_of(m, p.z.p, p.z.q);
  return (std::int64_t{at.n} * (p.z.p / 2) + at.p / 2) * (p.z.q / 2) + at.q / 2;
}

/// Finishes and stores channels [n, n+4) of row m, those that exist; `sum` becomes what was stored.
template <class T>
__device__ __forceinline__ void finish_quad(const MmaParams& p, int m, int n, Vec<float, 4>& sum) {
  const auto parameter = [](const View& v, int i) {  // f32, rounded as PyTorch's half layers do
    return static_cast<float>(static_cast<T>(static_cast<const float*>(v.data)[i]));
  };
  const std::int64_t from = p.residual.data ? residual_row(p, m) : 0, to = out_row(p, m);
  const bool first = n < p.split;  // with quads no vector straddles the two outputs
  const View& y = first ? p.y0 : p.y1;
  T* out = static_cast<T*>(y.data) + to * y.row_stride + (first ? n : n - p.split);
  if (p.quads && p.residual.data) {
    const auto added = *reinterpret_cast<const Vec<T, 4>*>(element<T>(p.residual, from, n));
#pragma unroll
    for (int e = 0; e < 4; ++e) sum.v[e] += static_cast<float>(added.v[e]);
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (n + e >= p.z.k) continue;
    if (p.bias.data) sum.v[e] += parameter(p.bias, n + e);
    if (p.skip_bias.data) sum.v[e] += parameter(p.skip_bias, n + e);
    if (!p.quads && p.residual.data)
      sum.v[e] += static_cast<float>(*element<T>(p.residual, from, n + e));
  }
  if (p.quads) {
    Vec<T, 4> stored;
#pragma unroll
    for (int e = 0; e < 4; ++e) stored.v[e] = static_cast<T>(sum.v[e]);
#pragma unroll
    for (int e = 0; e < 4; ++e) sum.v[e] = static_cast<float>(stored.v[e]);
    *reinterpret_cast<Vec<T, 4>*>(out) = stored;
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int column = n + e;
    if (column >= p.z.k) continue;
    const auto stored = static_cast<T>(sum.v[e]);
    sum.v[e] = static_cast<float>(stored);
    const View& side = column < p.split ? p.y0 : p.y1;
    static_cast<T*>(
        side.data)[to * side.row_stride + (column < p.split ? column : column - p.split)] = stored;
  }
}

/// Sixteen rows of a column of a slice become piece `piece`.
template <int kRows, int kWidth, int kSliceRows>
__device__ __forceinline__ void make_piece(Finishing<kRows, kWidth, kSliceRows>& f, int row0,
                                           int column, int piece) {
  constexpr int kPitch = Slice<kSliceRows, kWidth>::kPitch;
  float sum = 0.0f, squares = 0.0f;
#pragma unroll
  for (int row = 0; row < kPieceRows; ++row)
    sum += static_cast<float>(f.slice.sums[(row0 + row) * kPitch + column]);
  const float mean = sum / static_cast<float>(kPieceRows);
#pragma unroll
  for (int row = 0; row < kPieceRows; ++row) {
    const float d = static_cast<float>(f.slice.sums[(row0 + row) * kPitch + column]) - mean;
    squares = fmaf(d, d, squares);
  }
  f.pieces.mean[piece * kWidth + column] = mean;
  f.pieces.m2[piece * kWidth + column] = squares;
  if (column == 0) f.pieces.rows[piece] = static_cast<float>(kPieceRows);
}

/// Finishes a slice whose sums stand in shared memory: row i of it is row row_of(i) of the tile,
/// and sixteen rows from a multiple of sixteen are neighbours in both.
template <class T, int kRows, int kWidth, int kSliceRows, class RowOf>
__device__ __forceinline__ void finish_slice(const MmaParams& p,
                                             Finishing<kRows, kWidth, kSliceRows>& f, int m0,
                                             int n0, const RowOf& row_of) {
  constexpr int kPitch = Slice<kSliceRows, kWidth>::kPitch, kQuads = kWidth / 4;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kSliceRows * kQuads; i += kThreads) {
    const int row = i / kQuads, column = i % kQuads * 4;
    const int m = m0 + row_of(row), n = n0 + column;
    if (m >= p.z.n * p.z.p * p.z.q || n >= p.z.k) continue;
    Vec<float, 4> sum = load_vec<4>(f.slice.sums, row * kPitch + column);
    finish_quad<T>(p, m, n, sum);
    if (p.stats) store_vec(f.slice.sums, row * kPitch + column, sum);
  }
  __syncthreads();
  if (!p.stats) return;
  for (int i = static_cast<int>(threadIdx.x); i < kSliceRows / kPieceRows * kWidth; i += kThreads) {
    const int row0 = i / kWidth * kPieceRows;
    make_piece(f, row0, i % kWidth, row_of(row0) / kPieceRows);
  }
  __syncthreads();
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
