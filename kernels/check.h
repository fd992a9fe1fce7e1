#pragma once
// What the operations' check() and cost() share.
#include "runtime/tensor.h"

namespace tiller {

/// Throws Error unless `t` is defined, has the shape and stands on `device`.
inline void check_shape(const char* op, const char* what, const Tensor& t, const Shape& shape,
                        Device device) {
  TILLER_CHECK(t.defined() && t.shape() == shape && t.device() == device,
               "{}: {} is {}, not {} on {}", op, what, to_string(t), to_string(shape),
               to_string(device));
}

/// Throws Error unless `t` is defined and holds f32, f16, bf16 or f64.
inline void check_floating(const char* op, const char* what, const Tensor& t) {
  TILLER_CHECK(t.defined() && is_floating(t.dtype()), "{}: {} {} is not floating", op, what,
               to_string(t));
}

/// Bytes of a tensor's elements, 0 for an absent one.
inline double bytes_of(const Tensor& t) { return t ? static_cast<double>(t.bytes()) : 0; }

/// supports() of a row that takes every argument that check() lets through.
template <class Args>
bool any_arguments(const Args&) {
  return true;
}

}  // namespace tiller
