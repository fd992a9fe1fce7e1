#pragma once
#include <cstdint>

namespace tiller::ceilings_detail {

/// The loop behind multiply_add_*(), for a register type of kernels/simd.h.
template <class Vector>
[[gnu::always_inline]] inline double multiply_add(std::int64_t rounds, float* sink) {
  constexpr int kRegisters = 12;  // and one for each factor: all fit in AVX2's sixteen
  Vector sums[kRegisters];
  for (int i = 0; i < kRegisters; ++i) sums[i] = Vector(1.0f + static_cast<float>(i));
  const Vector a(0.999f), b(0.001f);
  for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kRegisters; ++i) sums[i] = fma(sums[i], a, b);
  Vector total(0.0f);
  for (const Vector& sum : sums) total = fma(sum, a, total);
  alignas(64) float lanes[Vector::kWidth];
  total.store(lanes);
  *sink = lanes[0];
  return 2.0 * kRegisters * static_cast<double>(Vector::kWidth) * static_cast<double>(rounds);
}

}  // namespace tiller::ceilings_detail
