#include "bench/plain.h"

namespace tiller::bench {

namespace {

Tensor plain_like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }

// One dense image with the channels of both, at the size that the convolution sees.
Tensor joined(const Tensor& x0, const Tensor& x1, const ConvGeometry& geometry) {
  const std::int64_t scale = geometry.up2x ? 2 : 1;
  return Tensor::empty(
      {x0.dim(0), x0.dim(1) * scale, x0.dim(2) * scale, x0.dim(3) + (x1 ? x1.dim(3) : 0)},
      x0.dtype(), x0.device());
}

}  // namespace

Conv2dFwdArgs without_fusions(Conv2dFwdArgs args) {
  Conv2dFwdArgs out;
  out.x0 = joined(args.x0, args.x1, args.geometry);
  out.w = args.w;
  out.bias = args.bias;
  out.y = plain_like(args.y);
  out.geometry = args.geometry;
  out.geometry.up2x = false;
  return out;
}

Conv2dDgradArgs without_fusions(Conv2dDgradArgs args) {
  args.dy = plain_like(args.dy);
  args.dx0 = joined(args.dx0, args.dx1, args.geometry);
  args.dx1 = {};
  args.geometry.up2x = false;
  return args;
}

Conv2dWgradArgs without_fusions(Conv2dWgradArgs args) {
  args.dy = plain_like(args.dy);
  args.x0 = joined(args.x0, args.x1, args.geometry);
  args.x1 = {};
  args.geometry.up2x = false;
  return args;
}

LinearFwdArgs without_fusions(LinearFwdArgs args) {
  args.residual = {};
  args.silu_input = false;
  args.norm = {};
  return args;
}

LinearWgradArgs without_fusions(LinearWgradArgs args) {
  args.silu_input = false;
  return args;
}

}  // namespace tiller::bench
