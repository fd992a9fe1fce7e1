#pragma once
// Two-dimensional convolution on channels-last tensors, with everything that the UNet puts around
// one.
//
//   y = conv(concat(x0, x1) upsampled?, w) + bias + conv1x1(concat(skip0, skip1), skip_w) +
//   skip_bias
//       + residual
//
// P = (H' + 2 pad - R) / stride + 1 with H' = 2H when up2x, else H; Q likewise. K is the GEMM's n,
// N*P*Q its m, R*S*C its k.
#include "runtime/op.h"

namespace tiller {

/// Geometry that forward, dgrad and wgrad share.
struct ConvGeometry {
  int stride = 1;
  int pad = 0;
  bool up2x = false;  ///< the input is read through a nearest-neighbour 2x up-sampling
};

struct Conv2dFwdArgs {
  Tensor x0;         // [N,H,W,C0] f32|f16|bf16|f64; may be a channel slice
  Tensor x1;         // [N,H,W,C1] second source, concatenated behind x0's channels; or none
  Tensor w;          // [K,R,S,C0+C1], dtype of x0 or f32 (then rounded to x0's dtype on use)
  Tensor bias;       // [K] f32 (f64 with f64), or none
  Tensor residual;   // [N,P,Q,K] dtype of y, or none; with residual_up2x [N,P/2,Q/2,K]
  Tensor skip0;      // [N,P,Q,C2] operand of a 1x1 convolution into the same output, or none
  Tensor skip1;      // [N,P,Q,C3] its second source, or none
  Tensor skip_w;     // [K,1,1,C2+C3]
  Tensor skip_bias;  // [K] or none
  Tensor y;          // [N,P,Q,K] out, dtype of x0
  Tensor stats;      // [N,K,2] out, or none: mean and sum of squared deviations of y over P and Q,
                     // f32 (f64 with f64), as a group norm that follows wants them
  ConvGeometry geometry;
  bool residual_up2x = false;

  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// dx = conv_transpose(dy, w), split into the two sources. With up2x, each low-resolution element
/// receives the sum over its four copies.
struct Conv2dDgradArgs {
  Tensor dy;   // [N,P,Q,K]
  Tensor w;    // [K,R,S,C0+C1]
  Tensor dx0;  // [N,H,W,C0] out
  Tensor dx1;  // [N,H,W,C1] out, or none when the forward had one source
  ConvGeometry geometry;

  Device device() const { return dx0.device(); }
  DType dtype() const { return dx0.dtype(); }
};

/// dw[k,r,s,c] = sum over n,p,q of dy[n,p,q,k] x[n, p*stride+r-pad, q*stride+s-pad, c], and dbias.
struct Conv2dWgradArgs {
  Tensor x0;     // [N,H,W,C0]
  Tensor x1;     // [N,H,W,C1] or none
  Tensor dy;     // [N,P,Q,K]
  Tensor dw;     // [K,R,S,C0+C1] out, f32 (f64 with f64)
  Tensor dbias;  // [K] out, f32 (f64 with f64), or none
  ConvGeometry geometry;

  Device device() const { return dw.device(); }
  DType dtype() const { return dy.dtype(); }
};

/// Output height (or width) for an input of h: throws Error when the kernel does not fit.
std::int64_t conv_out(std::int64_t h, std::int64_t r, const ConvGeometry& geometry);

/// Throw Error unless shapes and dtypes agree. The autograd operations call these before run().
void check(const Conv2dFwdArgs& args);
void check(const Conv2dDgradArgs& args);
void check(const Conv2dWgradArgs& args);

Cost cost(const Conv2dFwdArgs& args);
Cost cost(const Conv2dDgradArgs& args);
Cost cost(const Conv2dWgradArgs& args);
std::string describe(const Conv2dFwdArgs& args);
std::string describe(const Conv2dDgradArgs& args);
std::string describe(const Conv2dWgradArgs& args);

extern const Op<Conv2dFwdArgs> conv2d_fwd;
extern const Op<Conv2dDgradArgs> conv2d_dgrad;
extern const Op<Conv2dWgradArgs> conv2d_wgrad;

}  // namespace tiller
