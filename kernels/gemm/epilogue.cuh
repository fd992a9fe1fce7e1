#pragma once
// What happens to the sums of a tile: bias, the skip's bias, residual, one rounding, and the
// moments of what was stored. Sums pass through shared memory in slices of a few rows, so that a
// thread holds four neighbouring channels and a warp writes whole lines.
#include "kernels/conv2d/problem.cuh"
#include "kernels/gemm/mma.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// kRows rows of sums. The pitch of a tile (its width a multiple of 32) is 8 mod 32 words: two
/// columns of four rows each, as half a warp writes its fragments, fall into 32 banks.
template <int kRows, int kWidth>
struct Slice {
  static constexpr int kPitch = kWidth + 8;
  Array<float, kRows * kPitch> sums;
};

/// Mean and sum of squared deviations of `count` values.
struct RunningMoments {
  float count = 0.0f, mean = 0.0f, m2 = 0.0f;
  /// Chan, Golub & LeVeque (1979).
  __device__ __forceinline__ void add(float n, float other_mean, float other_m2) {
    const float all = count + n, d = other_mean - mean, share = n / all;
    m2 += other_m2 + d * d * count * share;
    mean += d * share;
    count = all;
  }
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

/// The moments of a slice's columns join those of the slices before: thread t has column t.
template <int kRows, int kWidth>
__device__ __forceinline__ void add_moments(Slice<kRows, kWidth>& s, RunningMoments& running) {
  const int column = static_cast<int>(threadIdx.x);
  if (column >= kWidth) return;
  float sum = 0.0f, squares = 0.0f;
#pragma unroll 4
  for (int row = 0; row < kRows; ++row)
    sum += static_cast<float>(s.sums[row * Slice<kRows, kWidth>::kPitch + column]);
  const float mean = sum / static_cast<float>(kRows);
#pragma unroll 4
  for (int row = 0; row < kRows; ++row) {
    const float d = static_cast<float>(s.sums[row * Slice<kRows, kWidth>::kPitch + column]) - mean;
    squares = fmaf(d, d, squares);
  }
  running.add(static_cast<float>(kRows), mean, squares);
}

/// Thread t's column of block `block` of rows.
__device__ __forceinline__ void store_moments(const MmaParams& p, int block, int n,
                                              const RunningMoments& all) {
  if (n >= p.z.k) return;
  float* to = p.moments + (std::int64_t{block} * p.z.k + n) * 2;
  to[0] = all.mean;
  to[1] = all.m2;
}

/// Finishes a slice whose sums stand in shared memory: row i of it is row row_of(i) of the product.
template <class T, int kRows, int kWidth, class RowOf>
__device__ __forceinline__ void finish_slice(const MmaParams& p, Slice<kRows, kWidth>& s, int n0,
                                             RunningMoments& running, const RowOf& row_of) {
  constexpr int kPitch = Slice<kRows, kWidth>::kPitch, kQuads = kWidth / 4;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kQuads; i += kThreads) {
    const int row = i / kQuads, column = i % kQuads * 4;
    const int m = row_of(row), n = n0 + column;
    if (m >= p.z.n * p.z.p * p.z.q || n >= p.z.k) continue;
    Vec<float, 4> sum = load_vec<4>(s.sums, row * kPitch + column);
    finish_quad<T>(p, m, n, sum);
    if (p.moments) store_vec(s.sums, row * kPitch + column, sum);
  }
  __syncthreads();
  if (!p.moments) return;
  if (n0 + static_cast<int>(threadIdx.x) < p.z.k) add_moments(s, running);
  __syncthreads();
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
