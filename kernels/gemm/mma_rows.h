#pragma once
// The host side of the tensor-core rows: sources in whole vectors, forms of the weights, the
// launches of one product. A call is laid out over an Arena; over a measuring one nothing is
// launched, so that the code that runs a row also says how much workspace it needs.
#include <algorithm>

#include "kernels/device_rows.h"
#include "kernels/gemm/arena.h"
#include "kernels/gemm/mma.h"
#include "kernels/gemm/mma_plan.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Whether the row's arithmetic fits: halves for the half rows, f32 for the tf32 rows.
inline bool mma_dtype(DType dtype, Math math) {
  if (math == Math::tf32) return dtype == DType::f32;
  return dtype == DType::f16 || dtype == DType::bf16;
}

/// One or two sources that can be read in 16-byte vectors, which never straddle them.
struct MmaSources {
  View first, second;
  int c0 = 0, c = 0;  ///< channels of the first, and of both
};

/// The tensors themselves, or where a vector does not divide their channels or they start between
/// vectors, one copy of both, padded with zeros. Absent tensors give absent sources.
MmaSources mma_sources(const Tensor& x0, const Tensor& x1, Arena& arena, Stream stream);

/// Which form of a weight; see WeightForm.
struct WeightRequest {
  DType dtype;
  int padded;  ///< length of the last dimension, with its zeros
  WeightForm form = WeightForm::forward;
  int stride = 1, phase_r = 0, phase_s = 0;
};
/// That form of w [K,R,S,C] (or [K,C]), kept with the weight until it changes; the weight itself
/// when it will do.
Tensor weight_for(const Tensor& w, const WeightRequest& request, Stream stream);

/// Whether vectors of four elements never straddle the tensor's rows; an absent one will do.
inline bool in_quads(const Tensor& t) {
  return !t || (t.aligned(4 * size_of(t.dtype())) && t.cols() % 4 == 0);
}

/// Which tile, and whether the sum is split.
struct MmaChoice {
  int tile;
  bool split;
};

/// Launches one product. Everything of `p` is set but what concerns parts and moments; `stats`
/// ([N,K,2] or none) becomes the moments of y, whose samples have P Q rows.
void run_product(MmaParams p, const MmaChoice& choice, const Tensor& y, const Tensor& stats,
                 Arena& arena, Stream stream);

/// Launches one weight gradient. Everything of `p` is set but what concerns its parts.
void run_wgrad_product(MmaWgradParams p, Arena& arena, Stream stream);

/// The bytes that call(arena) takes, never none: an arena over nothing is one that measures.
template <class Call>
std::size_t measured(const Call& call) {
  Arena arena(nullptr);
  call(arena);
  return std::max<std::size_t>(arena.used(), 1);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
