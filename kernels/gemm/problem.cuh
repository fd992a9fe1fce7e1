#pragma once
// A matrix product as the plain kernels see it: d[m,n] = sum over k of a(m,k) b(n,k). A Problem
// says how many rows and terms there are and where an element of either operand comes from; for a
// convolution that is the gathering of pixels, which so stands in one place for every step of the
// progression:
//
//   int m, n, k                         the extents
//   a_row(m), b_row(n)                  what is worth computing once for a row: pointers,
//   coordinates float a(row, k), float b(row, k)    elements, f32
//   void write(m, n, float sum)         the epilogue
//   kAContiguous, kBContiguous          whether neighbouring k (true) or neighbouring rows (false)
//   are
//                                       neighbours in memory: decides which lanes load what
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// v1_naive: a thread per element of d.
template <class Problem>
__device__ __forceinline__ void naive_product(const Problem& p) {
  const std::int64_t count = std::int64_t{p.m} * p.n;
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const int m = static_cast<int>(i / p.n), n = static_cast<int>(i - std::int64_t{m} * p.n);
    const auto a = p.a_row(m);
    const auto b = p.b_row(n);
    float sum = 0.0f;
    for (int k = 0; k < p.k; ++k) sum = fmaf(p.a(a, k), p.b(b, k), sum);
    p.write(m, n, sum);
  }
}

/// The tiles of v2_tiled: 64 x 64 results of a block, 16 terms a step, 4 x 4 results of a thread.
inline constexpr int kTileM = 64, kTileN = 64, kTileK = 16;
inline constexpr int kThreadM = 4, kThreadN = 4;
inline constexpr int kPitch =
    68;  ///< a tile's row in shared memory: 4 mod 32, against bank conflicts

struct TiledStorage {
  Array<float, kTileK * kPitch> a, b;  // [k][m], [k][n]
};

/// Which element of a 64 x 16 tile thread t fetches as its i-th of four.
struct Fetch {
  int row, k;
};
template <bool kContiguous>
__device__ __forceinline__ Fetch fetch_of(int thread, int i) {
  if (kContiguous) return {thread / kTileK + i * (kThreads / kTileK), thread % kTileK};
  return {thread % kTileM, thread / kTileM + i * (kThreads / kTileM)};
}

/// v2_tiled: a block makes 64 x 64 results from tiles in shared memory; the next tile's loads are
/// in flight while this one is multiplied.
template <class Problem>
__device__ __forceinline__ void tiled_product(const Problem& p) {
  auto& s = shared<TiledStorage>();
  const int thread = static_cast<int>(threadIdx.x);
  const int m0 = static_cast<int>(blockIdx.x) * kTileM, n0 = static_cast<int>(blockIdx.y) * kTileN;
  using RowA = decltype(p.a_row(0));
  using RowB = decltype(p.b_row(0));
  RowA rows_a[4];
  RowB rows_b[4];
  float next_a[4], next_b[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int m = m0 + fetch_of<Problem::kAContiguous>(thread, i).row;
    const int n = n0 + fetch_of<Problem::kBContiguous>(thread, i).row;
    rows_a[i] = p.a_row(m < p.m ? m : p.m - 1);  // rows beyond the end are computed, not written
    rows_b[i] = p.b_row(n < p.n ? n : p.n - 1);
  }
  const auto fetch = [&](int k0) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int ka = k0 + fetch_of<Problem::kAContiguous>(thread, i).k;
      const int kb = k0 + fetch_of<Problem::kBContiguous>(thread, i).k;
      next_a[i] = ka < p.k ? p.a(rows_a[i], ka) : 0.0f;
      next_b[i] = kb < p.k ? p.b(rows_b[i], kb) : 0.0f;
    }
  };
  const int own_m = thread / 16 * kThreadM, own_n = thread % 16 * kThreadN;
  float sum[kThreadM][kThreadN] = {};
  fetch(0);
  for (int k0 = 0; k0 < p.k; k0 += kTileK) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Fetch a = fetch_of<Problem::kAContiguous>(thread, i);
      const Fetch b = fetch_of<Problem::kBContiguous>(thread, i);
      s.a[a.k * kPitch + a.row] = next_a[i];
      s.b[b.k * kPitch + b.row] = next_b[i];
    }
    __syncthreads();
    if (k0 + kTileK < p.k) fetch(k0 + kTileK);
#pragma unroll
    for (int k = 0; k < kTileK; ++k) {
      const Vec<float, 4> a = load_vec<4>(s.a, k * kPitch + own_m);
      const Vec<float, 4> b = load_vec<4>(s.b, k * kPitch + own_n);
#pragma unroll
      for (int i = 0; i < kThreadM; ++i)
#pragma unroll
        for (int j = 0; j < kThreadN; ++j) sum[i][j] = fmaf(a.v[i], b.v[j], sum[i][j]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kThreadM; ++i)
#pragma unroll
    for (int j = 0; j < kThreadN; ++j)
      if (m0 + own_m + i < p.m && n0 + own_n + j < p.n)
        p.write(m0 + own_m + i, n0 + own_n + j, sum[i][j]);
}

inline dim3 tiled_grid(int m, int n) {
  return dim3(static_cast<unsigned>((m + kTileM - 1) / kTileM),
              static_cast<unsigned>((n + kTileN - 1) / kTileN));
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
