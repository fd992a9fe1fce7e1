#pragma once
// f16 (IEEE binary16) and bf16 as plain structs of sixteen bits, the same on the host and in a CUDA
// kernel. They store; arithmetic is done in f32. (The compiler's own _Float16 is not used: it
// crashes nvcc 13 in device code.)
#include <bit>
#include <cstdint>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#if defined(__CUDACC__)
#define TILLER_HOST_DEVICE __host__ __device__
#else
#define TILLER_HOST_DEVICE
#endif

namespace tiller {

namespace half_detail {

TILLER_HOST_DEVICE inline std::uint32_t bits_of(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return std::bit_cast<std::uint32_t>(x);
#endif
}

TILLER_HOST_DEVICE inline float float_of(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

// Round to nearest even, with subnormals, infinities and NaN. The hardware's instruction where there
// is one: a kernel that is bound by memory has no time for the integer form.
TILLER_HOST_DEVICE inline std::uint16_t f16_from_float(float x) {
#if defined(__CUDA_ARCH__)
  std::uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#elif defined(__F16C__)
  // Not _cvtss_sh: clang's is a macro that -Wpedantic refuses.
  return static_cast<std::uint16_t>(
      _mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT), 0));
#else
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u);   // NaN
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // overflow
  if (magnitude < 0x38800000u) {                                                    // subnormal
    // Adding 0.5 aligns the last bit of an f16 subnormal with the last bit of the sum.
    const float aligned = float_of(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (bits_of(aligned) - 0x3F000000u));
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<std::uint16_t>(sign | ((magnitude + 0xFFFu + odd - 0x38000000u) >> 13));
#endif
}

TILLER_HOST_DEVICE inline float f16_to_float(std::uint16_t h) {
#if defined(__CUDA_ARCH__)
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
  return x;
#elif defined(__F16C__)
  return _cvtsh_ss(h);
#else
  const std::uint32_t sign = (h & 0x8000u) << 16;
  const std::uint32_t exponent = (h >> 10) & 0x1Fu;
  const std::uint32_t mantissa = h & 0x3FFu;
  if (exponent == 0x1Fu) return float_of(sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return float_of(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8f;  // 2^-24
  return float_of(sign | bits_of(magnitude));
#endif
}

TILLER_HOST_DEVICE inline std::uint16_t bf16_from_float(float x) {
#if defined(__CUDA_ARCH__)
  std::uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#else
  const std::uint32_t bits = bits_of(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
#endif
}

}  // namespace half_detail

/// IEEE binary16 storage; converts to and from float with round to nearest even.
struct f16 {
  std::uint16_t bits;
  f16() = default;
  TILLER_HOST_DEVICE explicit f16(float x) : bits(half_detail::f16_from_float(x)) {}
  TILLER_HOST_DEVICE operator float() const { return half_detail::f16_to_float(bits); }
};

/// bfloat16 storage (the upper half of an f32); converts with round to nearest even.
struct bf16 {
  std::uint16_t bits;
  bf16() = default;
  TILLER_HOST_DEVICE explicit bf16(float x) : bits(half_detail::bf16_from_float(x)) {}
  TILLER_HOST_DEVICE operator float() const {
    return half_detail::float_of(static_cast<std::uint32_t>(bits) << 16);
  }
};

}  // namespace tiller
