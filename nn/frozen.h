#pragma once
// Parameters of networks that are not trained: values that stay in a file's order.
#include "nn/scope.h"

namespace tiller {

/// A parameter [K,R,S,C], [K,C] or [T,C] whose values stay where `in_file` has them, in PyTorch's
/// order: f32, f16 or bf16, dense, on the host. Throws Error.
Tensor frozen_parameter(const Tensor& in_file, const Shape& shape, FileLayout layout);

/// Such a parameter without values, on meta.
Tensor frozen_shape(const Shape& shape, FileLayout layout);

/// f32 values rounded to bfloat16, on all threads.
Tensor rounded_to_bf16(const Tensor& values);

}  // namespace tiller
