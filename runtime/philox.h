#pragma once
// Philox4x32-10 and the numbers made from its words, shared by the host and CUDA kernels. Nothing
// here calls a mathematical library: logarithm, sine and cosine are polynomials in explicit fused
// multiply-adds, and no product stands alone before a sum, so that no compiler may contract
// anything and the same bits come out of every device.
#include <cmath>
#include <cstdint>

#include "runtime/half.h"

namespace tiller {

/// Four 32-bit words: a counter or what Philox makes of it.
struct PhiloxWords {
  std::uint32_t v[4];
};

/// Four numbers made from the four words of one counter.
struct PhiloxFloats {
  float v[4];
};

namespace philox_detail {

TILLER_HOST_DEVICE inline float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

TILLER_HOST_DEVICE inline float square_root(float x) {  // IEEE: correctly rounded everywhere
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return std::sqrt(x);
#endif
}

/// Natural logarithm of a normal positive x, within 2 ulp. x = m 2^e with m in [sqrt(1/2),
/// sqrt(2)); f = m - 1 is exact, and ln(1 + f) = f - f^2/2 + f^3 P(f) keeps its relative accuracy
/// near x = 1.
TILLER_HOST_DEVICE inline float log(float x) {
  const std::uint32_t bits = half_detail::bits_of(x);
  // Subtracting sqrt(1/2)'s bits makes the exponent field change where m passes sqrt(2).
  const std::uint32_t shifted = bits - 0x3F3504F3u;
  const std::int32_t exponent = static_cast<std::int32_t>(shifted) >> 23;
  const float m = half_detail::float_of(bits - (static_cast<std::uint32_t>(exponent) << 23));
  const float f = m - 1.0f;
  const float e = static_cast<float>(exponent);
  // P, fitted to the relative error of ln(1 + f): 6e-9.
  float p = fma(-0x1.38c9dep-4f, f, 0x1.055ec6p-3f);
  p = fma(p, f, -0x1.0d8242p-3f);
  p = fma(p, f, 0x1.22d92ep-3f);
  p = fma(p, f, -0x1.54728ap-3f);
  p = fma(p, f, 0x1.99a01cp-3f);
  p = fma(p, f, -0x1.000226p-2f);
  p = fma(p, f, 0x1.555554p-2f);
  p = fma(p, f, -0.5f);
  // ln 2 in two parts: e times the first is exact.
  const float low = fma(e, 0x1.7f7d1cp-20f, p * (f * f));
  return fma(e, 0x1.62e4p-1f, f + low);
}

/// cos and sin of `word` * 2^-32 turns, within 2 ulp. The reduction to [-1/8, 1/8] of a turn is
/// done on the integer, so it is exact.
TILLER_HOST_DEVICE inline void cos_sin(std::uint32_t word, float& cosine, float& sine) {
  const std::uint32_t quarter = (word + 0x20000000u) >> 30;  // nearest quarter turn, 4 meaning 0
  const std::int32_t rest = static_cast<std::int32_t>(word - (quarter << 30));
  const float r = static_cast<float>(rest) * 0x1p-32f;  // turns, a power of two: exact
  const float z = r * r;
  // sin(2 pi r) = r (2 pi + z P(z)), relative error 4e-9; 2 pi in two parts.
  float p = fma(-0x1.2ddcecp+6f, z, 0x1.46607ep+6f);
  p = fma(p, z, -0x1.4abbc0p+5f);
  p = fma(p, z, -0x1.777a5cp-23f);
  const float s = fma(r, 0x1.921fb6p+2f, r * p);
  // cos(2 pi r) = 1 + z Q(z), error 5e-10.
  float q = fma(0x1.d47d5ep+5f, z, -0x1.55b146p+6f);
  q = fma(q, z, 0x1.03c1aep+6f);
  q = fma(q, z, -0x1.3bd3ccp+4f);
  const float c = fma(q, z, 1.0f);
  const bool odd = (quarter & 1u) != 0;
  const std::uint32_t cosine_sign = ((quarter + 1u) & 2u) << 30;
  const std::uint32_t sine_sign = (quarter & 2u) << 30;
  cosine = half_detail::float_of(half_detail::bits_of(odd ? s : c) ^ cosine_sign);
  sine = half_detail::float_of(half_detail::bits_of(odd ? c : s) ^ sine_sign);
}

/// Box-Muller: two words to two independent normal numbers, of magnitude at most 6.8.
TILLER_HOST_DEVICE inline void box_muller(std::uint32_t a, std::uint32_t b, float& x, float& y) {
  const float u = fma(static_cast<float>(a), 0x1p-32f, 0x1p-33f);  // in (0, 1]
  const float radius = square_root(-2.0f * log(u));
  float cosine, sine;
  cos_sin(b, cosine, sine);
  // Adding zero turns the product into an fma, which a caller's sum cannot absorb; it also makes -0
  // a plain 0.
  x = fma(radius, cosine, 0.0f);
  y = fma(radius, sine, 0.0f);
}

}  // namespace philox_detail

/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3).
TILLER_HOST_DEVICE inline PhiloxWords philox(PhiloxWords counter, std::uint32_t key0,
                                             std::uint32_t key1) {
  std::uint32_t* c = counter.v;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    const std::uint32_t c1 = c[1], c3 = c[3];
    c[0] = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ key0;
    c[1] = static_cast<std::uint32_t>(p1);
    c[2] = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ key1;
    c[3] = static_cast<std::uint32_t>(p0);
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return counter;
}

/// Four standard normal numbers: words 0 and 1 make the first two, words 2 and 3 the others.
TILLER_HOST_DEVICE inline PhiloxFloats normals_of(const PhiloxWords& words) {
  PhiloxFloats out;
  philox_detail::box_muller(words.v[0], words.v[1], out.v[0], out.v[1]);
  philox_detail::box_muller(words.v[2], words.v[3], out.v[2], out.v[3]);
  return out;
}

/// A uniform number in [0, 1): the upper 24 bits of the word.
TILLER_HOST_DEVICE inline float uniform_of(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

/// A uniform integer in [0, bound), bound >= 1.
TILLER_HOST_DEVICE inline std::uint32_t integer_of(std::uint32_t word, std::uint32_t bound) {
  return static_cast<std::uint32_t>((std::uint64_t{word} * bound) >> 32);
}

}  // namespace tiller
