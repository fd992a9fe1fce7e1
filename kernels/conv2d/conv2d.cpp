#include "kernels/conv2d/conv2d.h"

#include <algorithm>
#include <vector>

#include "kernels/conv2d/rows.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/cost.h"

namespace tiller {

namespace {

void check_tensor(const char* op, const char* what, const Tensor& t, const Shape& shape,
                  DType dtype, const Tensor& x, const Tensor& w) {
  TILLER_CHECK(t.defined() && t.shape() == shape && t.dtype() == dtype && t.device() == x.device(),
               "{}: {} is {}, not {}{}, x {}, w {}", op, what, to_string(t), name(dtype),
               to_string(shape), to_string(x), to_string(w));
}

// Where rows rely on dense memory: parameters, which nobody slices by channels.
void check_dense(const char* op, const char* what, const Tensor& t) {
  TILLER_CHECK(!t || t.dense(), "{}: {} {} is a channel slice", op, what, to_string(t));
}

// A source [N,H,W,C] and the one concatenated behind it; returns the channels of both.
std::int64_t check_sources(const char* op, const char* what, const Tensor& first,
                           const Tensor& second) {
  TILLER_CHECK(first.defined() && first.rank() == 4 && is_floating(first.dtype()),
               "{}: {}0 {} is not a floating [N,H,W,C]", op, what, to_string(first));
  if (!second) return first.dim(3);
  TILLER_CHECK(
      second.rank() == 4 && second.dtype() == first.dtype() && second.device() == first.device() &&
          second.shape() == first.shape().with(3, second.dim(3)),
      "{}: {}1 {} does not go behind {}0 {}", op, what, to_string(second), what, to_string(first));
  return first.dim(3) + second.dim(3);
}

void check_weight(const char* op, const char* what, const Tensor& w, std::int64_t channels,
                  const Tensor& x) {
  TILLER_CHECK(w.defined() && w.rank() == 4 && w.dim(3) == channels && w.dim(0) >= 1 &&
                   w.dim(1) >= 1 && w.dim(2) >= 1 && w.device() == x.device(),
               "{}: {} {} is not [K,R,S,C={}] of x {}", op, what, to_string(w), channels,
               to_string(x));
  TILLER_CHECK(w.dtype() == x.dtype() || w.dtype() == accumulate_dtype(x.dtype()),
               "{}: {} {} is neither {} nor {}", op, what, to_string(w), name(x.dtype()),
               name(accumulate_dtype(x.dtype())));
  check_dense(op, what, w);
}

Shape out_shape(const Tensor& x, const Tensor& w, const ConvGeometry& geometry) {
  return {x.dim(0), conv_out(x.dim(1), w.dim(1), geometry), conv_out(x.dim(2), w.dim(2), geometry),
          w.dim(0)};
}

// How many of `size` input rows (or columns) some tap reads: not all, when the stride is larger
// than the kernel or the last rows are left over.
std::int64_t touched(std::int64_t size, std::int64_t outputs, std::int64_t taps,
                     const ConvGeometry& geometry) {
  const std::int64_t scale = geometry.up2x ? 2 : 1;
  std::vector<bool> seen(static_cast<std::size_t>(size));
  for (std::int64_t p = 0; p < outputs; ++p)
    for (std::int64_t r = 0; r < taps; ++r) {
      const std::int64_t h = p * geometry.stride + r - geometry.pad;
      if (h >= 0 && h < scale * size) seen[static_cast<std::size_t>(h / scale)] = true;
    }
  return std::count(seen.begin(), seen.end(), true);
}

double source_bytes(const ConvSizes& z, DType dtype) {
  return static_cast<double>(z.n * touched(z.h, z.p, z.r, z.geometry) *
                             touched(z.w, z.q, z.s, z.geometry) * z.c) *
         static_cast<double>(size_of(dtype));
}

// Multiplications and additions of all taps, those on the padding included.
double product_flops(const ConvSizes& z) {
  return 2.0 * static_cast<double>(z.n * z.p * z.q) * static_cast<double>(z.k * z.r * z.s * z.c);
}

std::string describe_geometry(const ConvGeometry& geometry) {
  std::string text;
  if (geometry.stride != 1) text += fmt::format(", stride={}", geometry.stride);
  if (geometry.pad != 0) text += fmt::format(", pad={}", geometry.pad);
  if (geometry.up2x) text += ", up2x";
  return text;
}

std::string describe_sources(const char* what, const Tensor& first, const Tensor& second) {
  std::string text = fmt::format("{} {}", what, to_string(first));
  if (second) text += fmt::format(" and {}", to_string(second));
  return text;
}

}  // namespace

std::int64_t conv_out(std::int64_t h, std::int64_t r, const ConvGeometry& geometry) {
  TILLER_CHECK(geometry.stride >= 1 && geometry.pad >= 0, "conv2d: stride={} or pad={} is no size",
               geometry.stride, geometry.pad);
  const std::int64_t room = (geometry.up2x ? 2 * h : h) + 2 * geometry.pad - r;
  TILLER_CHECK(h >= 1 && r >= 1 && room >= 0,
               "conv2d: a kernel of {} does not fit {} pixels with pad={}{}", r, h, geometry.pad,
               geometry.up2x ? ", up2x" : "");
  return room / geometry.stride + 1;
}

void check(const Conv2dFwdArgs& args) {
  const char* op = "conv2d";
  const Tensor &x = args.x0, &w = args.w;
  check_weight(op, "w", w, check_sources(op, "x", x, args.x1), x);
  const Shape y = out_shape(x, w, args.geometry);
  const DType wide = accumulate_dtype(x.dtype());
  check_tensor(op, "y", args.y, y, x.dtype(), x, w);
  if (args.bias) check_tensor(op, "bias", args.bias, {w.dim(0)}, wide, x, w);
  if (args.residual) {
    TILLER_CHECK(!args.residual_up2x || (y[1] % 2 == 0 && y[2] % 2 == 0),
                 "{}: an up-sampled residual cannot fill y {}", op, to_string(y));
    check_tensor(op, "residual", args.residual,
                 args.residual_up2x ? y.with(1, y[1] / 2).with(2, y[2] / 2) : y, x.dtype(), x, w);
  }
  TILLER_CHECK(args.skip0.defined() == args.skip_w.defined() &&
                   (args.skip0 || (!args.skip1 && !args.skip_bias)),
               "{}: a skip operand needs skip0 {} and skip_w {}", op, to_string(args.skip0),
               to_string(args.skip_w));
  if (args.skip0) {
    const std::int64_t channels = check_sources(op, "skip", args.skip0, args.skip1);
    check_tensor(op, "skip0", args.skip0, y.with(3, args.skip0.dim(3)), x.dtype(), x, w);
    check_weight(op, "skip_w", args.skip_w, channels, x);
    TILLER_CHECK(args.skip_w.shape() == Shape({w.dim(0), 1, 1, channels}),
                 "{}: skip_w {} is not [{},1,1,{}]", op, to_string(args.skip_w), w.dim(0),
                 channels);
    if (args.skip_bias) check_tensor(op, "skip_bias", args.skip_bias, {w.dim(0)}, wide, x, w);
  }
  if (args.stats) {
    check_tensor(op, "stats", args.stats, {x.dim(0), w.dim(0), 2}, wide, x, w);
    check_dense(op, "stats", args.stats);
  }
}

void check(const Conv2dDgradArgs& args) {
  const char* op = "conv2d_dgrad";
  const Tensor &x = args.dx0, &w = args.w;
  check_weight(op, "w", w, check_sources(op, "dx", x, args.dx1), x);
  check_tensor(op, "dy", args.dy, out_shape(x, w, args.geometry), x.dtype(), x, w);
}

void check(const Conv2dWgradArgs& args) {
  const char* op = "conv2d_wgrad";
  const Tensor &x = args.x0, &dw = args.dw;
  check_weight(op, "dw", dw, check_sources(op, "x", x, args.x1), x);
  const DType wide = accumulate_dtype(x.dtype());
  TILLER_CHECK(dw.dtype() == wide, "{}: dw {} is not {}", op, to_string(dw), name(wide));
  check_tensor(op, "dy", args.dy, out_shape(x, dw, args.geometry), x.dtype(), x, dw);
  if (args.dbias) check_tensor(op, "dbias", args.dbias, {dw.dim(0)}, wide, x, dw);
}

Cost cost(const Conv2dFwdArgs& args) {
  const ConvSizes z(args);
  const auto outputs = static_cast<double>(z.n * z.p * z.q * z.k);
  Cost total;
  total.flops =
      product_flops(z) + outputs * (static_cast<double>(2 * (z.c2 + z.c3)) + (args.bias ? 1 : 0) +
                                    (args.skip_bias ? 1 : 0) + (args.residual ? 1 : 0));
  // Statistics: sum; / count; - mean, square, sum.
  if (args.stats) total.flops += 4 * outputs + static_cast<double>(z.n * z.k);
  total.bytes_read = source_bytes(z, args.dtype()) + weight_bytes(args.w, args.dtype()) +
                     bytes(args.bias) + bytes(args.residual) + bytes(args.skip0) +
                     bytes(args.skip1) + weight_bytes(args.skip_w, args.dtype()) +
                     bytes(args.skip_bias);
  total.bytes_written = bytes(args.y) + bytes(args.stats);
  return total;
}

Cost cost(const Conv2dDgradArgs& args) {
  return {product_flops(ConvSizes(args)), bytes(args.dy) + weight_bytes(args.w, args.dtype()),
          bytes(args.dx0) + bytes(args.dx1)};
}

Cost cost(const Conv2dWgradArgs& args) {
  const ConvSizes z(args);
  const double sums = args.dbias ? static_cast<double>(z.n * z.p * z.q * z.k) : 0;
  return {product_flops(z) + sums, source_bytes(z, args.dtype()) + bytes(args.dy),
          bytes(args.dw) + bytes(args.dbias)};
}

std::string describe(const Conv2dFwdArgs& args) {
  std::string text = fmt::format("{}, w {}{}", describe_sources("x", args.x0, args.x1),
                                 to_string(args.w.shape()), describe_geometry(args.geometry));
  if (args.skip0) text += ", " + describe_sources("skip", args.skip0, args.skip1);
  if (args.residual) text += args.residual_up2x ? ", residual up2x" : ", residual";
  if (args.stats) text += ", stats";
  return text;
}

std::string describe(const Conv2dDgradArgs& args) {
  return fmt::format("dy {}, w {}, {}{}", to_string(args.dy), to_string(args.w.shape()),
                     describe_sources("dx", args.dx0, args.dx1), describe_geometry(args.geometry));
}

std::string describe(const Conv2dWgradArgs& args) {
  return fmt::format("{}, dy {}, dw {}{}{}", describe_sources("x", args.x0, args.x1),
                     to_string(args.dy), to_string(args.dw.shape()),
                     describe_geometry(args.geometry), args.dbias ? ", dbias" : "");
}

const Op<Conv2dFwdArgs> conv2d_fwd("conv2d_fwd", conv2d_fwd_rows, conv2d_fwd_tuned);
const Op<Conv2dDgradArgs> conv2d_dgrad("conv2d_dgrad", conv2d_dgrad_rows, conv2d_dgrad_tuned);
const Op<Conv2dWgradArgs> conv2d_wgrad("conv2d_wgrad", conv2d_wgrad_rows, conv2d_wgrad_tuned);

}  // namespace tiller
