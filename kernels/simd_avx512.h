#pragma once
// f32x16: the AVX-512 twin of f32x8. Included by *_avx512.cpp only.
#include "kernels/simd.h"

namespace tiller {

struct f32x16 {
  static constexpr std::int64_t kWidth = 16;
  __m512 v;

  f32x16() = default;
  TILLER_INLINE f32x16(__m512 x) : v(x) {}
  TILLER_INLINE f32x16(float x) : v(_mm512_set1_ps(x)) {}

  TILLER_INLINE static __mmask16 first(std::int64_t n) {
    return static_cast<__mmask16>((1u << n) - 1u);
  }
  TILLER_INLINE static f32x16 load(const float* p) { return _mm512_loadu_ps(p); }
  TILLER_INLINE static f32x16 load(const f16* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TILLER_INLINE static f32x16 load(const bf16* p) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  TILLER_INLINE static f32x16 load(const float* p, std::int64_t n) {
    return _mm512_maskz_loadu_ps(first(n), p);
  }
  TILLER_INLINE static f32x16 load(const f16* p, std::int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
  }
  TILLER_INLINE static f32x16 load(const bf16* p, std::int64_t n) {
    return widen(_mm256_maskz_loadu_epi16(first(n), p));
  }

  TILLER_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  TILLER_INLINE void store(f16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), half_bits());
  }
  TILLER_INLINE void store(bf16* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), bf16_bits());
  }
  TILLER_INLINE void store(float* p, std::int64_t n) const {
    _mm512_mask_storeu_ps(p, first(n), v);
  }
  TILLER_INLINE void store(f16* p, std::int64_t n) const {
    _mm256_mask_storeu_epi16(p, first(n), half_bits());
  }
  TILLER_INLINE void store(bf16* p, std::int64_t n) const {
    _mm256_mask_storeu_epi16(p, first(n), bf16_bits());
  }

 private:
  TILLER_INLINE static f32x16 widen(__m256i bits) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  TILLER_INLINE __m256i half_bits() const { return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT); }
  TILLER_INLINE __m256i bf16_bits() const {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    const __mmask16 is_nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, is_nan, quiet), 16));
  }
};

TILLER_INLINE f32x16 operator+(f32x16 a, f32x16 b) { return _mm512_add_ps(a.v, b.v); }
TILLER_INLINE f32x16 operator-(f32x16 a, f32x16 b) { return _mm512_sub_ps(a.v, b.v); }
TILLER_INLINE f32x16 operator*(f32x16 a, f32x16 b) { return _mm512_mul_ps(a.v, b.v); }
TILLER_INLINE f32x16 operator/(f32x16 a, f32x16 b) { return _mm512_div_ps(a.v, b.v); }
TILLER_INLINE f32x16 operator-(f32x16 a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)); }
TILLER_INLINE f32x16& operator+=(f32x16& a, f32x16 b) { return a = a + b; }
TILLER_INLINE f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
TILLER_INLINE f32x16 fnma(f32x16 a, f32x16 b, f32x16 c) { return _mm512_fnmadd_ps(a.v, b.v, c.v); }
TILLER_INLINE f32x16 max(f32x16 a, f32x16 b) { return _mm512_max_ps(a.v, b.v); }
TILLER_INLINE f32x16 min(f32x16 a, f32x16 b) { return _mm512_min_ps(a.v, b.v); }
TILLER_INLINE f32x16 abs(f32x16 a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v); }
TILLER_INLINE f32x16 sqrt(f32x16 a) { return _mm512_sqrt_ps(a.v); }
TILLER_INLINE f32x16 round(f32x16 a) {
  return _mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TILLER_INLINE f32x16 scale_by_power(f32x16 a, f32x16 n) { return _mm512_scalef_ps(a.v, n.v); }
TILLER_INLINE float sum(f32x16 a) {
  return sum(f32x8(_mm512_castps512_ps256(a.v)) + f32x8(_mm512_extractf32x8_ps(a.v, 1)));
}
TILLER_INLINE float largest(f32x16 a) {
  return largest(max(f32x8(_mm512_castps512_ps256(a.v)), f32x8(_mm512_extractf32x8_ps(a.v, 1))));
}

}  // namespace tiller
