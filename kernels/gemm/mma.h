#pragma once
// What the tensor-core kernel is launched with: one implicit GEMM that serves convolutions forward,
// their data gradient (the forward on flipped weights) and fully connected layers (1x1, one row).
#include "kernels/conv2d/kernels.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct MmaParams {
  ConvShape z;
  View x0, x1, skip0, skip1;       // sources, dense in 16-byte vectors
  const void* w;                   // [K,R*S*C] of x's dtype
  const void* skip_w;              // [K,skip_c] or null
  View bias, skip_bias, residual;  // absent ones have no data
  View y0, y1;                     // channels [0,split) and [split,K); y1 may be absent
  int split;
  bool residual_up2x;
};

/// Copies of a weight: rounded to `to`'s dtype and, when `flip`, turned from [K,R,S,C] into the
/// [C,R,S,K] that reads the taps backwards.
struct WeightParams {
  View from, to;
  int k, r, s, c;
  bool flip;
};
void weight_form(const WeightParams& params, Stream stream);

/// The widths of the tiles there are: 128 results by kWidth channels. Math is the operands': f16,
/// bf16 (the dtype of x0), or tf32 for f32.
template <int kWidth>
void mma_product(const MmaParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
