#include "kernels/linear/linear.h"

#include "kernels/cost.h"
#include "kernels/linear/rows.h"

namespace tiller {

namespace {

void check_rows(const char* op, const char* what, const Tensor& t, const Tensor& like,
                std::int64_t columns, DType dtype) {
  TILLER_CHECK(t.defined() && t.rank() >= 1 && t.rank() == like.rank() &&
                   t.shape() == like.shape().with(-1, columns) && t.dtype() == dtype &&
                   t.device() == like.device(),
               "{}: {} is {}, not {}{}", op, what, to_string(t), name(dtype),
               to_string(like.shape().with(-1, columns)));
}

void check_input(const char* op, const char* what, const Tensor& x) {
  TILLER_CHECK(x.defined() && x.rank() >= 1 && is_floating(x.dtype()),
               "{}: {} {} is not a floating [M...,C]", op, what, to_string(x));
}

void check_weight(const char* op, const char* what, const Tensor& w, const Tensor& x) {
  TILLER_CHECK(w.defined() && w.rank() == 2 && w.dim(0) >= 1 && w.dim(1) >= 1 && w.dense() &&
                   w.device() == x.device() &&
                   (w.dtype() == x.dtype() || w.dtype() == accumulate_dtype(x.dtype())),
               "{}: {} {} is not a dense [K,C] of {} or {}", op, what, to_string(w),
               name(x.dtype()), name(accumulate_dtype(x.dtype())));
}

void check_vector(const char* op, const char* what, const Tensor& t, std::int64_t size,
                  const Tensor& x) {
  const DType wide = accumulate_dtype(x.dtype());
  TILLER_CHECK(t.shape() == Shape({size}) && t.dtype() == wide && t.device() == x.device(),
               "{}: {} is {}, not {}[{}]", op, what, to_string(t), name(wide), size);
}

double product_flops(const Tensor& rows, const Tensor& w) {
  return 2.0 * static_cast<double>(rows.rows()) * static_cast<double>(w.numel());
}

}  // namespace

GroupNormFwdArgs norm_of(const LinearFwdArgs& args, const Tensor& y) {
  GroupNormFwdArgs norm;
  norm.x0 = args.x;
  norm.gamma = args.norm.gamma;
  norm.beta = args.norm.beta;
  norm.stats0 = args.norm.stats;
  norm.y = y;
  norm.mean_rstd = args.norm.mean_rstd;
  norm.groups = args.norm.groups;
  norm.eps = args.norm.eps;
  return norm;
}

void check(const LinearFwdArgs& args) {
  const char* op = "linear";
  check_input(op, "x", args.x);
  check_weight(op, "w", args.w, args.x);
  TILLER_CHECK(args.w.dim(1) == args.x.cols(), "{}: x {} has not the {} columns of w {}", op,
               to_string(args.x), args.w.dim(1), to_string(args.w));
  check_rows(op, "y", args.y, args.x, args.w.dim(0), args.x.dtype());
  if (args.bias) check_vector(op, "bias", args.bias, args.w.dim(0), args.x);
  if (args.residual)
    check_rows(op, "residual", args.residual, args.x, args.w.dim(0), args.x.dtype());
  if (!args.norm) return;
  TILLER_CHECK(!args.silu_input, "{}: x {} passes through a norm or through SiLU, not both", op,
               to_string(args.x));
  check(norm_of(args, args.x));
}

void check(const LinearDgradArgs& args) {
  const char* op = "linear_dgrad";
  check_input(op, "dy", args.dy);
  check_weight(op, "w", args.w, args.dy);
  TILLER_CHECK(args.w.dim(0) == args.dy.cols(), "{}: dy {} has not the {} columns of w {}", op,
               to_string(args.dy), args.w.dim(0), to_string(args.w));
  check_rows(op, "dx", args.dx, args.dy, args.w.dim(1), args.dy.dtype());
}

void check(const LinearWgradArgs& args) {
  const char* op = "linear_wgrad";
  check_input(op, "x", args.x);
  check_weight(op, "dw", args.dw, args.x);
  const DType wide = accumulate_dtype(args.x.dtype());
  TILLER_CHECK(args.dw.dtype() == wide && args.dw.dim(1) == args.x.cols(),
               "{}: dw {} is not {}[K,{}], x {}", op, to_string(args.dw), name(wide), args.x.cols(),
               to_string(args.x));
  check_rows(op, "dy", args.dy, args.x, args.dw.dim(0), args.x.dtype());
  if (args.dbias) check_vector(op, "dbias", args.dbias, args.dw.dim(0), args.x);
}

Cost cost(const LinearFwdArgs& args) {
  const auto outputs = static_cast<double>(args.y.numel());
  Cost total;
  total.flops = product_flops(args.x, args.w) +
                outputs * ((args.bias ? 1 : 0) + (args.residual ? 1 : 0)) +
                (args.silu_input ? 3 * static_cast<double>(args.x.numel()) : 0);  // exp, + 1, /
  total.bytes_read =
      bytes(args.x) + weight_bytes(args.w, args.dtype()) + bytes(args.bias) + bytes(args.residual);
  total.bytes_written = bytes(args.y);
  if (!args.norm) return total;
  Cost norm = cost(norm_of(args, {}));
  norm.bytes_read -= bytes(args.x);  // once for both
  return total += norm;
}

Cost cost(const LinearDgradArgs& args) {
  return {product_flops(args.dy, args.w), bytes(args.dy) + weight_bytes(args.w, args.dtype()),
          bytes(args.dx)};
}

Cost cost(const LinearWgradArgs& args) {
  return {product_flops(args.dy, args.dw) +
              (args.dbias ? static_cast<double>(args.dy.numel()) : 0) +
              (args.silu_input ? 3 * static_cast<double>(args.x.numel()) : 0),
          bytes(args.x) + bytes(args.dy), bytes(args.dw) + bytes(args.dbias)};
}

std::string describe(const LinearFwdArgs& args) {
  return fmt::format("{}x {}, w {}{}",
                     args.silu_input ? "silu "
                     : args.norm     ? "normed "
                                     : "",
                     to_string(args.x), to_string(args.w.shape()),
                     args.residual ? ", residual" : "");
}
std::string describe(const LinearDgradArgs& args) {
  return fmt::format("dy {}, w {}", to_string(args.dy), to_string(args.w.shape()));
}
std::string describe(const LinearWgradArgs& args) {
  return fmt::format("{}x {}, dy {}{}", args.silu_input ? "silu " : "", to_string(args.x),
                     to_string(args.dy), args.dbias ? ", dbias" : "");
}

const Op<LinearFwdArgs> linear_fwd("linear_fwd", linear_fwd_rows, linear_fwd_tuned);
const Op<LinearDgradArgs> linear_dgrad("linear_dgrad", linear_dgrad_rows, linear_dgrad_tuned);
const Op<LinearWgradArgs> linear_wgrad("linear_wgrad", linear_wgrad_rows);

}  // namespace tiller
