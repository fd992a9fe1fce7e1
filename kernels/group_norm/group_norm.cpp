#include "kernels/group_norm/group_norm.h"

#include "kernels/cost.h"
#include "kernels/gemm/isa.h"
#include "kernels/group_norm/blocks.h"
#include "kernels/group_norm/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

void check_tensor(const char* op, const char* what, const Tensor& t, const Shape& shape,
                  DType dtype, const Tensor& x) {
  TILLER_CHECK(t.defined() && t.shape() == shape && t.dtype() == dtype && t.device() == x.device(),
               "{}: {} is {}, not {}{}, x {}", op, what, to_string(t), name(dtype),
               to_string(shape), to_string(x));
}

// What forward and backward share: the sources, the parameters, the shape of y.
template <class Args>
GroupNormSizes check_common(const char* op, const Args& args) {
  const Tensor& x = args.x0;
  TILLER_CHECK(x.defined() && x.rank() >= 2 && is_floating(x.dtype()),
               "{}: x {} is not a floating [N,H,W,C] or [N,T,C]", op, to_string(x));
  if (args.x1) check_tensor(op, "x1", args.x1, x.shape().with(-1, args.x1.cols()), x.dtype(), x);
  TILLER_CHECK(args.groups >= 1, "{}: groups={} is not positive, x {}", op, args.groups,
               to_string(x));
  const GroupNormSizes s(args);
  const std::string second = args.x1 ? fmt::format(" and {}", to_string(args.x1)) : "";
  TILLER_CHECK(s.channels >= 1 && s.channels % s.groups == 0,
               "{}: C={} is not divisible by groups={}, x {}{}", op, s.channels, s.groups,
               to_string(x), second);
  TILLER_CHECK(s.pixels >= 1, "{}: x {} has no pixel", op, to_string(x));
  TILLER_CHECK(!args.pool || (x.rank() == 4 && x.dim(1) % 2 == 0 && x.dim(2) % 2 == 0),
               "{}: 2x2 blocks do not tile x {}", op, to_string(x));
  const DType wide = accumulate_dtype(x.dtype());
  check_tensor(op, "gamma", args.gamma, {s.channels}, wide, x);
  check_tensor(op, "beta", args.beta, {s.channels}, wide, x);
  if (args.emb)
    check_tensor(op, "emb", args.emb, {s.samples, 2 * s.channels},
                 args.emb.dtype() == x.dtype() ? x.dtype() : wide, x);
  check_tensor(op, "mean_rstd", args.mean_rstd, {s.samples, s.groups, 2}, wide, x);
  return s;
}

template <class Args>
Shape y_shape(const Args& args, const GroupNormSizes& s) {
  const Shape shape = args.x0.shape().with(-1, s.channels);
  return args.pool ? shape.with(1, shape[1] / 2).with(2, shape[2] / 2) : shape;
}

template <class Args>
std::string describe_any(const Args& args) {
  std::string text = fmt::format("x {}", to_string(args.x0));
  if (args.x1) text += fmt::format(" and {}", to_string(args.x1));
  text += fmt::format(", groups={}", args.groups);
  if (args.emb) text += ", scale-shift";
  if (args.silu) text += ", silu";
  if (args.pool) text += ", pool";
  return text;
}

template <class Args>
bool always(const Args&) {
  return true;
}

template <class Args>
bool not_f64(const Args& args) {
  return args.dtype() != DType::f64;
}

template <class Args>
bool not_f64_avx512(const Args& args) {
  return not_f64(args) && Avx512::available();
}

void run_fwd(const GroupNormFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { group_norm_fwd_reference<decltype(t)>(args); });
}
void run_bwd(const GroupNormBwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { group_norm_bwd_reference<decltype(t)>(args); });
}

std::span<const Row<GroupNormFwdArgs>> fwd_rows(DeviceType device) {
  static const Row<GroupNormFwdArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_fwd},
      {"v1_blocks", DeviceType::cpu, Math::f32, RowKind::fast, not_f64,
       group_norm_fwd_blocks_workspace, group_norm_fwd_blocks},
      {"v2_blocks_avx512", DeviceType::cpu, Math::f32, RowKind::fast, not_f64_avx512,
       group_norm_fwd_blocks_workspace, group_norm_fwd_blocks_avx512},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<GroupNormFwdArgs>(device);
}

std::span<const Row<GroupNormBwdArgs>> bwd_rows(DeviceType device) {
  static const Row<GroupNormBwdArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, run_bwd},
      {"v1_blocks", DeviceType::cpu, Math::f32, RowKind::fast, not_f64,
       group_norm_bwd_blocks_workspace, group_norm_bwd_blocks},
      {"v2_blocks_avx512", DeviceType::cpu, Math::f32, RowKind::fast, not_f64_avx512,
       group_norm_bwd_blocks_workspace, group_norm_bwd_blocks_avx512},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<GroupNormBwdArgs>(device);
}

}  // namespace

void check(const GroupNormFwdArgs& args) {
  const char* op = "group_norm";
  const GroupNormSizes s = check_common(op, args);
  check_tensor(op, "y", args.y, y_shape(args, s), args.x0.dtype(), args.x0);
  const DType wide = accumulate_dtype(args.x0.dtype());
  if (args.stats0) check_tensor(op, "stats0", args.stats0, {s.samples, s.c0, 2}, wide, args.x0);
  if (args.stats1)
    check_tensor(op, "stats1", args.stats1, {s.samples, s.channels - s.c0, 2}, wide, args.x0);
}

void check(const GroupNormBwdArgs& args) {
  const char* op = "group_norm_bwd";
  const GroupNormSizes s = check_common(op, args);
  const DType wide = accumulate_dtype(args.x0.dtype());
  check_tensor(op, "dy", args.dy, y_shape(args, s), args.x0.dtype(), args.x0);
  if (args.dx0) check_tensor(op, "dx0", args.dx0, args.x0.shape(), args.x0.dtype(), args.x0);
  TILLER_CHECK(!args.add0 || args.dx0, "{}: add0 {} has no dx0 to be added to, x {}", op,
               to_string(args.add0), to_string(args.x0));
  if (args.add0) check_tensor(op, "add0", args.add0, args.x0.shape(), args.x0.dtype(), args.x0);
  TILLER_CHECK(!args.add0 || args.add0.storage() != args.dx0.storage() ||
                   args.add0.offset() != args.dx0.offset(),
               "{}: add0 is dx0 itself, which rows write before they read add0, x {}", op,
               to_string(args.x0));
  TILLER_CHECK(!args.dx1 || args.x1, "{}: dx1 is asked for without x1, x {}", op,
               to_string(args.x0));
  if (args.dx1) check_tensor(op, "dx1", args.dx1, args.x1.shape(), args.x0.dtype(), args.x0);
  if (args.dgamma) check_tensor(op, "dgamma", args.dgamma, {s.channels}, wide, args.x0);
  if (args.dbeta) check_tensor(op, "dbeta", args.dbeta, {s.channels}, wide, args.x0);
  TILLER_CHECK(!args.demb || args.emb, "{}: demb is asked for without emb, x {}", op,
               to_string(args.x0));
  if (args.demb) check_tensor(op, "demb", args.demb, args.emb.shape(), args.emb.dtype(), args.x0);
}

Cost cost(const GroupNormFwdArgs& args) {
  const GroupNormSizes s(args);
  const auto pixels = static_cast<double>(s.pixels), size = static_cast<double>(s.group_size);
  const auto rows = static_cast<double>(s.samples * s.channels);  // samples and channels
  // Moments of a channel without ready ones: sum, / count; - mean, square, sum.
  const double computed =
      static_cast<double>(s.samples) *
      static_cast<double>((args.stats0 ? 0 : s.c0) + (args.stats1 ? 0 : s.channels - s.c0));
  // Of a group: sum of means, / count; five per channel for m2; variance, + eps, sqrt, 1 / x.
  const double per_group = 6 * size + 5;
  // Per element: - mean, * rstd, * gamma, + beta; * (1 + scale), + shift; exp, + 1, /; pool's sum.
  const double per_element = 4 + (args.emb ? 2 : 0) + (args.silu ? 3 : 0) + (args.pool ? 1.25 : 0);
  Cost total;
  total.flops = computed * (4 * pixels + 1) +
                static_cast<double>(s.samples * s.groups) * per_group +
                rows * (pixels * per_element + (args.emb ? 1 : 0));
  total.bytes_read = bytes(args.x0) + bytes(args.x1) + bytes(args.gamma) + bytes(args.beta) +
                     bytes(args.emb) + bytes(args.stats0) + bytes(args.stats1);
  total.bytes_written = bytes(args.y) + bytes(args.mean_rstd);
  return total;
}

Cost cost(const GroupNormBwdArgs& args) {
  const GroupNormSizes s(args);
  const auto rows = static_cast<double>(s.samples * s.channels);
  // Per element: xhat (2); dy / 4; z (2, 4 with emb), the sigmoid (3) and SiLU's derivative (5);
  // the sums (3). Per element of dx: five.
  const double per_element =
      5 + (args.pool ? 1 : 0) + (args.silu ? 10 : 0) + (args.silu && args.emb ? 2 : 0);
  // Per sample and channel: k, and the group's sums (4).
  const double per_row =
      5 + (args.emb ? 1 : 0) + (args.demb ? 3 : 0) + (args.dgamma ? 2 : 0) + (args.dbeta ? 2 : 0);
  const auto dx =
      static_cast<double>((args.dx0 ? args.dx0.numel() : 0) + (args.dx1 ? args.dx1.numel() : 0));
  Cost total;
  total.flops = rows * (static_cast<double>(s.pixels) * per_element + per_row) +
                static_cast<double>(s.samples * s.groups) * 2 + dx * 5 +
                static_cast<double>(args.add0 ? args.add0.numel() : 0);
  total.bytes_read = bytes(args.x0) + bytes(args.x1) + bytes(args.gamma) + bytes(args.mean_rstd) +
                     bytes(args.dy) + bytes(args.add0) +
                     (args.silu || args.demb ? bytes(args.beta) : 0) +
                     bytes(args.emb) * (args.silu ? 1 : 0.5);  // without SiLU only the scales
  total.bytes_written =
      bytes(args.dx0) + bytes(args.dx1) + bytes(args.dgamma) + bytes(args.dbeta) + bytes(args.demb);
  return total;
}

std::string describe(const GroupNormFwdArgs& args) {
  return describe_any(args) + (args.stats0 || args.stats1 ? ", ready statistics" : "");
}
std::string describe(const GroupNormBwdArgs& args) {
  return describe_any(args) + (args.add0 ? ", added" : "");
}

const Op<GroupNormFwdArgs> group_norm_fwd("group_norm_fwd", fwd_rows);
const Op<GroupNormBwdArgs> group_norm_bwd("group_norm_bwd", bwd_rows);

}  // namespace tiller
