#pragma once
// The extents of one convolution, and where its taps fall: shared by every row.
#include "kernels/conv2d/conv2d.h"

namespace tiller {

/// The letters of conv2d.h for one call.
struct ConvSizes {
  std::int64_t n, h, w;    ///< samples, input rows and columns (before up-sampling)
  std::int64_t c0, c1, c;  ///< channels of the two sources, and their sum
  std::int64_t k, r, s;    ///< output channels, taps down and across
  std::int64_t p, q;       ///< output rows and columns
  std::int64_t c2, c3;     ///< channels of the skip operand's two sources (forward only)
  ConvGeometry geometry;

  explicit ConvSizes(const Conv2dFwdArgs& args)
      : ConvSizes(args.x0, args.x1, args.y, args.w.shape(), args.geometry) {
    c2 = args.skip0 ? args.skip0.cols() : 0;
    c3 = args.skip1 ? args.skip1.cols() : 0;
  }
  explicit ConvSizes(const Conv2dDgradArgs& args)
      : ConvSizes(args.dx0, args.dx1, args.dy, args.w.shape(), args.geometry) {}
  explicit ConvSizes(const Conv2dWgradArgs& args)
      : ConvSizes(args.x0, args.x1, args.dy, args.dw.shape(), args.geometry) {}

  /// The row of x (a pixel, n*H*W + h*W + w) that tap (tap_r, tap_s) of output pixel (sample, pp,
  /// qq) reads, or -1 when it falls on the padding.
  std::int64_t source_row(std::int64_t sample, std::int64_t pp, std::int64_t qq, std::int64_t tap_r,
                          std::int64_t tap_s) const {
    const int halving = geometry.up2x ? 1 : 0;  // a shift: asked for every tap of every pixel
    const std::int64_t hh = pp * geometry.stride + tap_r - geometry.pad;
    const std::int64_t ww = qq * geometry.stride + tap_s - geometry.pad;
    if (hh < 0 || hh >= h << halving || ww < 0 || ww >= w << halving) return -1;
    return (sample * h + (hh >> halving)) * w + (ww >> halving);
  }

 private:
  ConvSizes(const Tensor& x0, const Tensor& x1, const Tensor& y, const Shape& weight,
            const ConvGeometry& conv)
      : n(x0.dim(0)),
        h(x0.dim(1)),
        w(x0.dim(2)),
        c0(x0.dim(3)),
        c1(x1 ? x1.dim(3) : 0),
        c(c0 + c1),
        k(weight[0]),
        r(weight[1]),
        s(weight[2]),
        p(y.dim(1)),
        q(y.dim(2)),
        c2(0),
        c3(0),
        geometry(conv) {}
};

}  // namespace tiller
