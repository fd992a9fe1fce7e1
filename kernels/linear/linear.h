#pragma once
// Fully connected layer: y = silu?(x) w^T + bias + residual. Also every 1x1 convolution over tokens
// (qkv and the attention's projection), with the group norm before qkv:
// y = group_norm?(x) w^T + bias + residual.
#include "kernels/group_norm/group_norm.h"
#include "runtime/op.h"

namespace tiller {

/// A group norm that x passes through, rounded to x's dtype as group_norm_fwd stores it. Its
/// statistics must be ready.
struct LinearNorm {
  Tensor stats;        // [N,C,2] mean and sum of squared deviations of x over its other dimensions;
                       // none: no norm
  Tensor gamma, beta;  // [C] f32 (f64 with f64)
  Tensor mean_rstd;    // [N,G,2] out f32 (f64 with f64): what the norm's backward needs besides x
  int groups = 32;
  double eps = 1e-5;

  explicit operator bool() const { return stats.defined(); }
};

struct LinearFwdArgs {
  Tensor x;                 // [M...,C]; leading dimensions are flattened to M rows
  Tensor w;                 // [K,C], dtype of x or f32 (then rounded to x's dtype on use)
  Tensor bias;              // [K] f32 (f64 with f64), or none
  Tensor residual;          // [M...,K] dtype of y, or none
  Tensor y;                 // [M...,K] out, dtype of x
  bool silu_input = false;  ///< x is passed through SiLU first (the embedding layers)
  LinearNorm norm = {};     ///< x [N,...,C] is passed through it first; not both

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

/// The norm of a call that has one as a call of its own: x, normed, into `y`.
GroupNormFwdArgs norm_of(const LinearFwdArgs& args, const Tensor& y);

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
