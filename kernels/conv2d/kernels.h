#pragma once
// What the convolution's kernels are launched with: the letters of kernels/conv2d/conv2d.h.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct ConvShape {
  int n, h, w, c0, c, k, r, s, p, q;  ///< c: channels of both sources, c0: of the first
  int c2, skip_c;                     ///< channels of the skip's first source, and of both
  int stride, pad, up;                ///< up: 2 when the input is read up-sampled, else 1
};

struct Conv2dFwdParams {
  ConvShape z;
  View x0, x1, w, bias, residual, skip0, skip1, skip_w, skip_bias, y;
  bool residual_up2x;
};
struct Conv2dDgradParams {
  ConvShape z;
  View dy, w, dx0, dx1;
};
struct Conv2dWgradParams {
  ConvShape z;
  View x0, x1, dy, dw, dbias;
};
void conv2d_fwd_v1(const Conv2dFwdParams& params, Stream stream);
void conv2d_dgrad_v1(const Conv2dDgradParams& params, Stream stream);
void conv2d_wgrad_v1(const Conv2dWgradParams& params, Stream stream);
void conv2d_fwd_v2(const Conv2dFwdParams& params, Stream stream);
void conv2d_dgrad_v2(const Conv2dDgradParams& params, Stream stream);
void conv2d_wgrad_v2(const Conv2dWgradParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
