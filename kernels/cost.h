#pragma once
// Parts of cost(): what an operation must read and write at least.
#include "runtime/tensor.h"

namespace tiller {

/// Every element once; an absent tensor has none.
inline double bytes(const Tensor& t) { return t ? static_cast<double>(t.bytes()) : 0; }

/// Of a weight that products read in `dtype`: kept wider, it is rounded once (derived(), in
/// runtime/tensor.h), and that form is what each call reads.
inline double weight_bytes(const Tensor& w, DType dtype) {
  return w ? static_cast<double>(w.numel()) * static_cast<double>(size_of(dtype)) : 0;
}

}  // namespace tiller
