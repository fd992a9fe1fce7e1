#pragma once
// Small vectors for the CPU rows. f32x8 is one AVX register of floats; it loads and stores f32, f16
// and bf16 alike, so a row is written once, as a template over the storage type, and rounds once,
// on storing. kernels/simd_avx512.h has f32x16 with the same members, so that such a template
// serves both widths.
//
// Everything is force-inlined: a *_avx512.cpp includes this header too, and an out-of-line copy
// that was compiled there must never be linked into a program on a processor without AVX-512.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "runtime/half.h"

#define TILLER_INLINE [[gnu::always_inline]] inline

namespace tiller {

struct f32x8 {
  static constexpr std::int64_t kWidth = 8;
  __m256 v;

  f32x8() = default;
  TILLER_INLINE f32x8(__m256 x) : v(x) {}
  TILLER_INLINE f32x8(float x) : v(_mm256_set1_ps(x)) {}  ///< in every lane

  /// kWidth elements from any address, converted to f32.
  TILLER_INLINE static f32x8 load(const float* p) { return _mm256_loadu_ps(p); }
  TILLER_INLINE static f32x8 load(const f16* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  TILLER_INLINE static f32x8 load(const bf16* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  /// The first n < kWidth elements; zeros behind them. Touches no memory beyond.
  template <class T>
  TILLER_INLINE static f32x8 load(const T* p, std::int64_t n) {
    alignas(32) T buffer[kWidth];
    std::memset(static_cast<void*>(buffer), 0, sizeof buffer);
    std::memcpy(static_cast<void*>(buffer), p, static_cast<std::size_t>(n) * sizeof(T));
    return load(buffer);
  }

  /// Rounds to nearest even where T is narrower.
  TILLER_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  TILLER_INLINE void store(f16* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  TILLER_INLINE void store(bf16* p) const {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
    // A NaN must stay one: rounding could carry it into the sign.
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i high = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, is_nan), 16);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1)));
  }
  /// The first n < kWidth elements.
  template <class T>
  TILLER_INLINE void store(T* p, std::int64_t n) const {
    alignas(32) T buffer[kWidth];
    store(buffer);
    std::memcpy(static_cast<void*>(p), buffer, static_cast<std::size_t>(n) * sizeof(T));
  }
};

TILLER_INLINE f32x8 operator+(f32x8 a, f32x8 b) { return _mm256_add_ps(a.v, b.v); }
TILLER_INLINE f32x8 operator-(f32x8 a, f32x8 b) { return _mm256_sub_ps(a.v, b.v); }
TILLER_INLINE f32x8 operator*(f32x8 a, f32x8 b) { return _mm256_mul_ps(a.v, b.v); }
TILLER_INLINE f32x8 operator/(f32x8 a, f32x8 b) { return _mm256_div_ps(a.v, b.v); }
TILLER_INLINE f32x8 operator-(f32x8 a) { return _mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f)); }
TILLER_INLINE f32x8& operator+=(f32x8& a, f32x8 b) { return a = a + b; }
/// a * b + c, and c - a * b, rounded once.
TILLER_INLINE f32x8 fma(f32x8 a, f32x8 b, f32x8 c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
TILLER_INLINE f32x8 fnma(f32x8 a, f32x8 b, f32x8 c) { return _mm256_fnmadd_ps(a.v, b.v, c.v); }
/// The second operand where either is NaN.
TILLER_INLINE f32x8 max(f32x8 a, f32x8 b) { return _mm256_max_ps(a.v, b.v); }
TILLER_INLINE f32x8 min(f32x8 a, f32x8 b) { return _mm256_min_ps(a.v, b.v); }
TILLER_INLINE f32x8 abs(f32x8 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v); }
TILLER_INLINE f32x8 sqrt(f32x8 a) { return _mm256_sqrt_ps(a.v); }
TILLER_INLINE f32x8 round(f32x8 a) {
  return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// a * 2^n for whole n within [-252, 254]; in two steps, so that the ends (infinity, subnormals)
/// are right.
TILLER_INLINE f32x8 scale_by_power(f32x8 a, f32x8 n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i rest = _mm256_sub_epi32(whole, half);
  const auto power = [](__m256i e) __attribute__((always_inline)) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return _mm256_mul_ps(_mm256_mul_ps(a.v, power(half)), power(rest));
}
/// Sum and largest of all lanes, in a fixed order.
TILLER_INLINE float sum(f32x8 a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TILLER_INLINE float largest(f32x8 a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/// e^x within about one unit in the last place; infinity above 88.7, 0 below -104, NaN for NaN.
/// x = n ln 2 + r; e^r = 1 + r + r^2 q(r), q a minimax polynomial fitted over |r| <= ln(2)/2.
template <class V>
requires requires { V::kWidth; }
TILLER_INLINE V exp(V x) {
  x = min(V(89.0f), max(V(-105.0f), x));
  const V n = round(x * V(1.44269504f));
  const V r = fnma(n, V(-2.12194440e-4f), fnma(n, V(0.693359375f), x));  // ln 2 in two parts
  V q = fma(V(0.00138145988f), r, V(0.00836871658f));
  q = fma(q, r, V(0.0416683890f));
  q = fma(q, r, V(0.166665211f));
  q = fma(q, r, V(0.499999940f));
  return scale_by_power(fma(fma(q, r, V(1.0f)), r, V(1.0f)), n);
}

/// 1 / (1 + e^-x).
template <class V>
requires requires { V::kWidth; }
TILLER_INLINE V sigmoid(V x) { return V(1.0f) / (V(1.0f) + exp(-x)); }

/// x sigmoid(x).
template <class V>
requires requires { V::kWidth; }
TILLER_INLINE V silu(V x) { return x / (V(1.0f) + exp(-x)); }

/// d silu(x) / dx = sigmoid(x) (1 + x (1 - sigmoid(x))).
template <class V>
requires requires { V::kWidth; }
TILLER_INLINE V silu_slope(V x) {
  const V s = sigmoid(x);
  return s * fma(x, V(1.0f) - s, V(1.0f));
}

/// x within [low, high]; NaN stays NaN.
template <class V>
requires requires { V::kWidth; }
TILLER_INLINE V clip(V x, V low, V high) { return min(high, max(low, x)); }

/// Where a loop over `n` contiguous elements stands: at a whole vector, or at the rest of the last
/// one.
template <class V>
struct WholeVector {
  std::int64_t i;
  template <class T>
  TILLER_INLINE V load(const T* p) const {
    return V::load(p + i);
  }
  template <class T>
  TILLER_INLINE void store(V v, T* p) const {
    v.store(p + i);
  }
};
template <class V>
struct PartVector {
  std::int64_t i, count;
  template <class T>
  TILLER_INLINE V load(const T* p) const {
    return V::load(p + i, count);
  }
  template <class T>
  TILLER_INLINE void store(V v, T* p) const {
    v.store(p + i, count);
  }
};

/// Calls f(at) for each vector of n elements, in order; `at` loads and stores there:
///   for_each_vector<f32x8>(n, [&](auto at) { at.store(silu(at.load(x)), y); });
template <class V, class F>
TILLER_INLINE void for_each_vector(std::int64_t n, const F& f) {
  std::int64_t i = 0;
  for (; i + V::kWidth <= n; i += V::kWidth) f(WholeVector<V>{i});
  if (i < n) f(PartVector<V>{i, n - i});
}

/// The same as a loop's variable, where a lambda would be in the way. It asks at each load and
/// store whether the vector is whole, so that loops of little arithmetic are slower than
/// for_each_vector's.
///   for (Step<V> s(n); s; s.next()) s.store(f(s.load(x)), y);
template <class V>
struct Step {
  std::int64_t i = 0, n;
  TILLER_INLINE explicit Step(std::int64_t count) : n(count) {}
  TILLER_INLINE explicit operator bool() const { return i < n; }
  TILLER_INLINE void next() { i += V::kWidth; }
  template <class T>
  TILLER_INLINE V load(const T* p) const {
    return i + V::kWidth <= n ? V::load(p + i) : V::load(p + i, n - i);
  }
  template <class T>
  TILLER_INLINE void store(V v, T* p) const {
    if (i + V::kWidth <= n)
      v.store(p + i);
    else
      v.store(p + i, n - i);
  }
};

}  // namespace tiller
