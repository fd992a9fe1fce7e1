#pragma once
// Half-precision activations meet the micro-kernels as f32: sources are converted once per call,
// results rounded once at the end.
#include "kernels/gemm/arena.h"
#include "runtime/tensor.h"

namespace tiller {

/// Rows of f32 values, `stride` floats apart.
struct FloatRows {
  const float* data = nullptr;
  std::int64_t stride = 0;
  const float* row(std::int64_t i) const { return data + i * stride; }
};

/// Converts `count` values of dtype f16, bf16 or f32, and back (to nearest even).
void to_floats(const void* from, DType dtype, std::int64_t count, float* to);
void from_floats(const float* from, std::int64_t count, DType dtype, void* to);

/// The rows of `t` as floats: itself when it is f32 (and its rows lie well in the cache), else a
/// copy in the arena, which is filled unless it is only measuring. An undefined tensor gives no
/// rows.
FloatRows float_rows(const Tensor& t, Arena& arena);

/// As float_rows, but always a copy, passed through SiLU.
FloatRows silu_rows(const Tensor& t, Arena& arena);

/// Whether the fast rows compute on `dtype`.
inline bool is_floats(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

}  // namespace tiller
