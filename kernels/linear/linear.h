#pragma once
// Fully connected layer: y = silu?(x) w^T + bias + residual. Also every 1x1 convolution over tokens
// (qkv and the attention's projection).
#include "runtime/op.h"

namespace tiller {

struct LinearFwdArgs {
  Tensor x;                 // [M...,C]; leading dimensions are flattened to M rows
  Tensor w;                 // [K,C], dtype of x or f32 (then rounded to x's dtype on use)
  Tensor bias;              // [K] f32 (f64 with f64), or none
  Tensor residual;          // [M...,K] dtype of y, or none
  Tensor y;                 // [M...,K] out, dtype of x
  bool silu_input = false;  ///< x is passed through SiLU first (the embedding layers)

  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// dx = dy w (the gradient with respect to what the product saw: after SiLU, if any).
struct LinearDgradArgs {
  Tensor dy;  // [M...,K]
  Tensor w;   // [K,C]
  Tensor dx;  // [M...,C] out

  Device device() const { return dx.device(); }
  DType dtype() const { return dx.dtype(); }
};

/// dw = dy^T silu?(x), dbias = column sums of dy.
struct LinearWgradArgs {
  Tensor x;      // [M...,C]
  Tensor dy;     // [M...,K]
  Tensor dw;     // [K,C] out, f32 (f64 with f64)
  Tensor dbias;  // [K] out, f32 (f64 with f64), or none
  bool silu_input = false;

  Device device() const { return dw.device(); }
  DType dtype() const { return dy.dtype(); }
};

void check(const LinearFwdArgs& args);
void check(const LinearDgradArgs& args);
void check(const LinearWgradArgs& args);
Cost cost(const LinearFwdArgs& args);
Cost cost(const LinearDgradArgs& args);
Cost cost(const LinearWgradArgs& args);
std::string describe(const LinearFwdArgs& args);
std::string describe(const LinearDgradArgs& args);
std::string describe(const LinearWgradArgs& args);

extern const Op<LinearFwdArgs> linear_fwd;
extern const Op<LinearDgradArgs> linear_dgrad;
extern const Op<LinearWgradArgs> linear_wgrad;

}  // namespace tiller
