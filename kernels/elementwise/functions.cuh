#pragma once
// The elementwise functions of one element.
#include "kernels/elementwise/kinds.h"
// Last, because of its keywords.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// y = f(x).
__device__ __forceinline__ float apply(UnaryKind kind, float x, float a, float b) {
  switch (kind) {
    case UnaryKind::copy:
      return x;
    case UnaryKind::affine:
      return fmaf(a, x, b);
    case UnaryKind::clamp:
      return x < a ? a : x > b ? b : x;  // NaN stays NaN
    case UnaryKind::silu:
      return x / (1.0f + expf(-x));
    case UnaryKind::exp:
      return expf(x);
    case UnaryKind::log:
      return logf(x);
    case UnaryKind::sqrt:
      return sqrtf(x);
    case UnaryKind::rsqrt:
      return 1.0f / sqrtf(x);
    case UnaryKind::square:
      return x * x;
    case UnaryKind::abs:
      return fabsf(x);
    case UnaryKind::sign:
      return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f;
    case UnaryKind::tanh:
      return tanhf(x);
    case UnaryKind::sin:
      return sinf(x);
    case UnaryKind::cos:
      return cosf(x);
    case UnaryKind::reciprocal:
      return 1.0f / x;
  }
  return x;
}

/// What a binary operation makes of alpha a and beta b.
__device__ __forceinline__ float apply(BinaryKind kind, float a, float b) {
  switch (kind) {
    case BinaryKind::add:
      return a + b;
    case BinaryKind::mul:
      return a * b;
    case BinaryKind::div:
      return a / b;
    case BinaryKind::maximum:  // NaN if either is
      return a != a ? a : b != b ? b : a > b ? a : b;
    case BinaryKind::minimum:
      return a != a ? a : b != b ? b : a > b ? b : a;
  }
  return a;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
