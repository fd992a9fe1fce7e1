#pragma once
// c (+)= a b on small blocks in the cache, vectorised over b's columns.
#include <cstdint>

#include "kernels/simd.h"

namespace tiller::flash {

/// Element (i, p) of the left matrix is a[i * row + p * column], so that its transpose needs no
/// copy.
struct Left {
  const float* a;
  std::int64_t row, column;
};

/// kRows x (kVectors vectors) of c in registers; the products of one column are added in order of
/// p.
template <class V, int kRows, int kVectors>
TILLER_INLINE void gemm_tile(std::int64_t k, Left left, const float* b, std::int64_t ldb, float* c,
                             std::int64_t ldc, bool accumulate) {
  V sum[kRows][kVectors];
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j)
      sum[i][j] = accumulate ? V::load(c + i * ldc + j * V::kWidth) : V(0.0f);
  for (std::int64_t p = 0; p < k; ++p) {
    V right[kVectors];
    for (int j = 0; j < kVectors; ++j) right[j] = V::load(b + p * ldb + j * V::kWidth);
    for (int i = 0; i < kRows; ++i) {
      const V x(left.a[i * left.row + p * left.column]);
      for (int j = 0; j < kVectors; ++j) sum[i][j] = fma(x, right[j], sum[i][j]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kVectors; ++j) sum[i][j].store(c + i * ldc + j * V::kWidth);
}

template <class V, int kVectors>
void gemm_panel(std::int64_t m, std::int64_t k, Left left, const float* b, std::int64_t ldb,
                float* c, std::int64_t ldc, bool accumulate) {
  std::int64_t i = 0;
  for (; i + 4 <= m; i += 4)
    gemm_tile<V, 4, kVectors>(k, {left.a + i * left.row, left.row, left.column}, b, ldb,
                              c + i * ldc, ldc, accumulate);
  for (; i < m; ++i)
    gemm_tile<V, 1, kVectors>(k, {left.a + i * left.row, left.row, left.column}, b, ldb,
                              c + i * ldc, ldc, accumulate);
}

/// c[m,n] (+)= left[m,k] b[k,n]; n is a multiple of the vector's width, and b's and c's rows hold
/// it.
template <class V>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Left left, const float* b,
          std::int64_t ldb, float* c, std::int64_t ldc, bool accumulate) {
  // Twelve sums hide the latency of a product without running out of AVX2's sixteen registers.
  std::int64_t j = 0;
  for (; j + 3 * V::kWidth <= n; j += 3 * V::kWidth)
    gemm_panel<V, 3>(m, k, left, b + j, ldb, c + j, ldc, accumulate);
  if (j + 2 * V::kWidth <= n) {
    gemm_panel<V, 2>(m, k, left, b + j, ldb, c + j, ldc, accumulate);
    j += 2 * V::kWidth;
  }
  if (j < n) gemm_panel<V, 1>(m, k, left, b + j, ldb, c + j, ldc, accumulate);
}

}  // namespace tiller::flash
