#pragma once
// runtime/philox.h for eight counters at a time, operation by operation the same: every bit agrees
// with the scalar code.
#include <immintrin.h>

#include "kernels/simd.h"
#include "runtime/philox.h"

namespace tiller {

/// Word w of eight counters in v[w], a counter per lane.
struct PhiloxWords8 {
  __m256i v[4];
};

namespace philox_detail {

// The low and the high halves of the eight 64-bit products x * m.
TILLER_INLINE void multiply(__m256i x, __m256i m, __m256i& low, __m256i& high) {
  const __m256i even = _mm256_mul_epu32(x, m);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

TILLER_INLINE __m256 word_to_float(__m256i word) {  // unsigned; the sum alone is rounded
  const __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(word, 16));
  const __m256 low = _mm256_cvtepi32_ps(_mm256_and_si256(word, _mm256_set1_epi32(0xFFFF)));
  return _mm256_fmadd_ps(high, _mm256_set1_ps(65536.0f), low);
}

TILLER_INLINE f32x8 log(f32x8 x) {
  const __m256i bits = _mm256_castps_si256(x.v);
  const __m256i shifted = _mm256_sub_epi32(bits, _mm256_set1_epi32(0x3F3504F3));
  const __m256i exponent = _mm256_srai_epi32(shifted, 23);
  const f32x8 m = _mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(exponent, 23)));
  const f32x8 f = m - f32x8(1.0f);
  const f32x8 e = _mm256_cvtepi32_ps(exponent);
  f32x8 p = tiller::fma(f32x8(-0x1.38c9dep-4f), f, f32x8(0x1.055ec6p-3f));
  p = tiller::fma(p, f, f32x8(-0x1.0d8242p-3f));
  p = tiller::fma(p, f, f32x8(0x1.22d92ep-3f));
  p = tiller::fma(p, f, f32x8(-0x1.54728ap-3f));
  p = tiller::fma(p, f, f32x8(0x1.99a01cp-3f));
  p = tiller::fma(p, f, f32x8(-0x1.000226p-2f));
  p = tiller::fma(p, f, f32x8(0x1.555554p-2f));
  p = tiller::fma(p, f, f32x8(-0.5f));
  const f32x8 low = tiller::fma(e, f32x8(0x1.7f7d1cp-20f), p * (f * f));
  return tiller::fma(e, f32x8(0x1.62e4p-1f), f + low);
}

TILLER_INLINE void cos_sin(__m256i word, f32x8& cosine, f32x8& sine) {
  const __m256i quarter =
      _mm256_srli_epi32(_mm256_add_epi32(word, _mm256_set1_epi32(0x20000000)), 30);
  const __m256i rest = _mm256_sub_epi32(word, _mm256_slli_epi32(quarter, 30));
  const f32x8 r = f32x8(_mm256_cvtepi32_ps(rest)) * f32x8(0x1p-32f);
  const f32x8 z = r * r;
  f32x8 p = tiller::fma(f32x8(-0x1.2ddcecp+6f), z, f32x8(0x1.46607ep+6f));
  p = tiller::fma(p, z, f32x8(-0x1.4abbc0p+5f));
  p = tiller::fma(p, z, f32x8(-0x1.777a5cp-23f));
  const f32x8 s = tiller::fma(r, f32x8(0x1.921fb6p+2f), r * p);
  f32x8 q = tiller::fma(f32x8(0x1.d47d5ep+5f), z, f32x8(-0x1.55b146p+6f));
  q = tiller::fma(q, z, f32x8(0x1.03c1aep+6f));
  q = tiller::fma(q, z, f32x8(-0x1.3bd3ccp+4f));
  const f32x8 c = tiller::fma(q, z, f32x8(1.0f));
  const __m256 odd = _mm256_castsi256_ps(_mm256_slli_epi32(quarter, 31));
  const __m256i one = _mm256_set1_epi32(1), two = _mm256_set1_epi32(2);
  const __m256i cosine_sign =
      _mm256_slli_epi32(_mm256_and_si256(_mm256_add_epi32(quarter, one), two), 30);
  const __m256i sine_sign = _mm256_slli_epi32(_mm256_and_si256(quarter, two), 30);
  cosine = _mm256_xor_ps(_mm256_blendv_ps(c.v, s.v, odd), _mm256_castsi256_ps(cosine_sign));
  sine = _mm256_xor_ps(_mm256_blendv_ps(s.v, c.v, odd), _mm256_castsi256_ps(sine_sign));
}

TILLER_INLINE void box_muller(__m256i a, __m256i b, f32x8& x, f32x8& y) {
  const f32x8 u = tiller::fma(f32x8(word_to_float(a)), f32x8(0x1p-32f), f32x8(0x1p-33f));
  const f32x8 radius = sqrt(f32x8(-2.0f) * log(u));
  f32x8 cosine, sine;
  cos_sin(b, cosine, sine);
  x = tiller::fma(radius, cosine, f32x8(0.0f));
  y = tiller::fma(radius, sine, f32x8(0.0f));
}

// Rows of four lanes' words, counter by counter, in the order of the elements.
TILLER_INLINE void transpose(const __m256i (&word)[4], __m256i (&out)[4]) {
  const __m256i a = _mm256_unpacklo_epi32(word[0], word[1]);
  const __m256i b = _mm256_unpacklo_epi32(word[2], word[3]);
  const __m256i c = _mm256_unpackhi_epi32(word[0], word[1]);
  const __m256i d = _mm256_unpackhi_epi32(word[2], word[3]);
  const __m256i g04 = _mm256_unpacklo_epi64(a, b), g15 = _mm256_unpackhi_epi64(a, b);
  const __m256i g26 = _mm256_unpacklo_epi64(c, d), g37 = _mm256_unpackhi_epi64(c, d);
  out[0] = _mm256_permute2x128_si256(g04, g15, 0x20);
  out[1] = _mm256_permute2x128_si256(g26, g37, 0x20);
  out[2] = _mm256_permute2x128_si256(g04, g15, 0x31);
  out[3] = _mm256_permute2x128_si256(g26, g37, 0x31);
}

}  // namespace philox_detail

/// philox() of the counters {first + lane, c1, c2, c3}.
TILLER_INLINE PhiloxWords8 philox8(std::uint32_t first, std::uint32_t c1, std::uint32_t c2,
                                   std::uint32_t c3, std::uint32_t key0, std::uint32_t key1) {
  const auto all = [](std::uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); };
  PhiloxWords8 c{{_mm256_add_epi32(all(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), all(c1),
                  all(c2), all(c3)}};
  const __m256i m0 = all(0xD2511F53u), m1 = all(0xCD9E8D57u);
  for (int round = 0; round < 10; ++round) {
    __m256i low0, high0, low1, high1;
    philox_detail::multiply(c.v[0], m0, low0, high0);
    philox_detail::multiply(c.v[2], m1, low1, high1);
    c.v[0] = _mm256_xor_si256(_mm256_xor_si256(high1, c.v[1]), all(key0));
    c.v[1] = low1;
    c.v[2] = _mm256_xor_si256(_mm256_xor_si256(high0, c.v[3]), all(key1));
    c.v[3] = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

/// The 32 words of eight counters in the order of the elements: word 4 g + j is word j of counter
/// g.
TILLER_INLINE void words_in_order(const PhiloxWords8& words, __m256i (&out)[4]) {
  philox_detail::transpose(words.v, out);
}

/// The 32 normal numbers that normals_of() makes of eight counters, in the order of the elements.
TILLER_INLINE void normals_of(const PhiloxWords8& words, float* out) {
  f32x8 n[4];
  philox_detail::box_muller(words.v[0], words.v[1], n[0], n[1]);
  philox_detail::box_muller(words.v[2], words.v[3], n[2], n[3]);
  __m256i bits[4], ordered[4];
  for (int i = 0; i < 4; ++i) bits[i] = _mm256_castps_si256(n[i].v);
  philox_detail::transpose(bits, ordered);
  for (int i = 0; i < 4; ++i)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8 * i), ordered[i]);
}

}  // namespace tiller
