#pragma once
// The host side of the tensor-core rows: when they serve a call, and the forms of its weights.
#include "kernels/device_rows.h"
#include "kernels/gemm/mma.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Whether the row's arithmetic fits: halves for the half rows, f32 for the tf32 rows.
inline bool mma_dtype(DType dtype, Math math) {
  if (math == Math::tf32) return dtype == DType::f32;
  return dtype == DType::f16 || dtype == DType::bf16;
}

/// Whether a source can be read in 16-byte vectors that never straddle it; an absent one can.
inline bool in_vectors(const Tensor& t) {
  return !t || (t.aligned(16) && static_cast<std::size_t>(t.cols()) * size_of(t.dtype()) % 16 == 0);
}

/// Wide tiles serve channels that they divide; 64 serves any number, 128 any that is larger. So the
/// last row that serves a call wastes least.
template <int kWidth>
bool mma_width(std::int64_t channels) {
  if (kWidth == 64) return true;
  return kWidth == 128 ? channels > 64 : channels % kWidth == 0;
}

/// The weight [K,R,S,C] in the dtype of the activations, flipped for the data gradient. Kept with
/// the weight until it changes; the weight itself when it will do.
inline Tensor weight_for(const Tensor& w, DType dtype, bool flip, Stream stream) {
  if (!flip && w.dtype() == dtype && w.aligned(16)) return w;
  const int r = w.rank() == 4 ? static_cast<int>(w.dim(1)) : 1;
  const int s = w.rank() == 4 ? static_cast<int>(w.dim(2)) : 1;
  const std::string form = fmt::format("mma_{}{}", name(dtype), flip ? "_flipped" : "");
  return derived(w, form.c_str(), [&] {
    const Tensor to = Tensor::empty(w.shape(), dtype, w.device());
    weight_form({view_of(w), view_of(to), static_cast<int>(w.dim(0)), r, s,
                 static_cast<int>(w.cols()), flip},
                stream);
    return to;
  });
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
