#pragma once
// The elementwise operations by name, for the host and for kernels.
#include <cstdint>

namespace tiller {

/// y = f(x). a and b are the constants of affine (a x + b) and clamp (to [a, b]).
enum class UnaryKind : std::uint8_t {
  copy,
  affine,
  clamp,
  silu,
  exp,
  log,
  sqrt,
  rsqrt,
  square,
  abs,
  sign,
  tanh,
  sin,
  cos,
  reciprocal,
};

/// How the second operand of a binary operation meets the first, of shape [N, ..., C].
enum class Broadcast : std::uint8_t {
  none,                ///< equal shapes
  per_sample,          ///< b [N]: one value per entry of the first dimension
  per_channel,         ///< b [C]
  per_sample_channel,  ///< b [N,C]
};

/// y = alpha * a (op) beta * b.
enum class BinaryKind : std::uint8_t { add, mul, div, maximum, minimum };

}  // namespace tiller
