#include "kernels/softmax/softmax.h"

#include "kernels/cost.h"
#include "kernels/rows_cuda.h"
#include "kernels/softmax/fast.h"
#include "kernels/softmax/reference.h"

namespace tiller {

namespace {

void check_alike(const char* op, const Tensor& x, const Tensor& other, const char* what) {
  TILLER_CHECK(other.defined() && other.shape() == x.shape() && other.dtype() == x.dtype() &&
                   other.device() == x.device(),
               "{}: {} {} does not match {}", op, what, to_string(other), to_string(x));
}

void check_logits(const char* op, const Tensor& x) {
  TILLER_CHECK(x.defined() && is_floating(x.dtype()), "{}: {} is not floating", op, to_string(x));
  TILLER_CHECK(x.rank() >= 1 && x.cols() >= 1, "{}: {} has no last dimension to sum over", op,
               to_string(x));
}

// labels, and one value per row in the accumulation dtype (loss or its gradient).
void check_rows(const char* op, const Tensor& logits, const Tensor& labels, const Tensor& values,
                const char* what) {
  check_logits(op, logits);
  TILLER_CHECK(logits.rank() == 2, "{}: logits {} are not [M,K]", op, to_string(logits));
  const Shape rows{logits.dim(0)};
  TILLER_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.shape() == rows &&
                   labels.device() == logits.device(),
               "{}: labels {} are not i64{} beside logits {}", op, to_string(labels),
               to_string(rows), to_string(logits));
  const DType dtype = accumulate_dtype(logits.dtype());
  TILLER_CHECK(values.defined() && values.dtype() == dtype && values.shape() == rows &&
                   values.device() == logits.device(),
               "{}: {} {} is not {}{} beside logits {}", op, what, to_string(values), name(dtype),
               to_string(rows), to_string(logits));
}

double count(std::int64_t n) { return static_cast<double>(n); }

template <class Args>
bool always(const Args&) {
  return true;
}

void run_fwd(const SoftmaxFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { softmax_fwd_reference<decltype(t)>(args); });
}
void run_bwd(const SoftmaxBwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { softmax_bwd_reference<decltype(t)>(args); });
}
void run_ce_fwd(const CrossEntropyFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { cross_entropy_fwd_reference<decltype(t)>(args); });
}
void run_ce_bwd(const CrossEntropyBwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { cross_entropy_bwd_reference<decltype(t)>(args); });
}

template <class Args>
bool not_f64(const Args& args) {
  return args.dtype() != DType::f64;
}

template <class Args>
using Run = void (*)(const Args&, void*, Stream);
template <class Args>
using Workspace = std::size_t (*)(const Args&);

template <class Args, Run<Args> kReference, Run<Args> kFast, Workspace<Args> kWorkspace>
std::span<const Row<Args>> rows(DeviceType device) {
  static const Row<Args> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always<Args>, nullptr,
       kReference},
      {"v1_rows", DeviceType::cpu, Math::f32, RowKind::fast, not_f64<Args>, kWorkspace, kFast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<Args>(device);
}

}  // namespace

void check(const SoftmaxFwdArgs& args) {
  check_logits("softmax", args.x);
  check_alike("softmax", args.x, args.y, "y");
}

void check(const SoftmaxBwdArgs& args) {
  check_logits("softmax_bwd", args.y);
  check_alike("softmax_bwd", args.y, args.dy, "dy");
  check_alike("softmax_bwd", args.y, args.dx, "dx");
}

void check(const CrossEntropyFwdArgs& args) {
  check_rows("cross_entropy", args.logits, args.labels, args.loss, "loss");
}

void check(const CrossEntropyBwdArgs& args) {
  check_rows("cross_entropy_bwd", args.logits, args.labels, args.dloss, "dloss");
  check_alike("cross_entropy_bwd", args.logits, args.dlogits, "dlogits");
}

Cost cost(const SoftmaxFwdArgs& args) {
  // Per element: x - max, exp, sum, and / sum (or x - lse, lse = max + log sum).
  const double per_row = 4 * count(args.x.cols()) + (args.log ? 2 : 0);
  return {count(args.x.rows()) * per_row, bytes(args.x), bytes(args.y)};
}

Cost cost(const SoftmaxBwdArgs& args) {
  return {4 * count(args.y.numel()), bytes(args.y) + bytes(args.dy), bytes(args.dx)};
}

Cost cost(const CrossEntropyFwdArgs& args) {
  const double per_row = 3 * count(args.logits.cols()) + 3;
  return {count(args.logits.rows()) * per_row, bytes(args.logits) + bytes(args.labels),
          bytes(args.loss)};
}

Cost cost(const CrossEntropyBwdArgs& args) {
  const double per_row = 5 * count(args.logits.cols()) + 1;
  return {count(args.logits.rows()) * per_row,
          bytes(args.logits) + bytes(args.labels) + bytes(args.dloss), bytes(args.dlogits)};
}

std::string describe(const SoftmaxFwdArgs& args) {
  return fmt::format("x {}{}", to_string(args.x), args.log ? ", log" : "");
}
std::string describe(const SoftmaxBwdArgs& args) {
  return fmt::format("y {}{}", to_string(args.y), args.log ? ", log" : "");
}
std::string describe(const CrossEntropyFwdArgs& args) {
  return fmt::format("logits {}", to_string(args.logits));
}
std::string describe(const CrossEntropyBwdArgs& args) {
  return fmt::format("logits {}", to_string(args.logits));
}

const Op<SoftmaxFwdArgs> softmax_fwd(
    "softmax_fwd", rows<SoftmaxFwdArgs, run_fwd, softmax_fwd_fast, softmax_row_workspace>);
const Op<SoftmaxBwdArgs> softmax_bwd("softmax_bwd",
                                     rows<SoftmaxBwdArgs, run_bwd, softmax_bwd_fast, nullptr>);
const Op<CrossEntropyFwdArgs> cross_entropy_fwd(
    "cross_entropy_fwd",
    rows<CrossEntropyFwdArgs, run_ce_fwd, cross_entropy_fwd_fast, softmax_row_workspace>);
const Op<CrossEntropyBwdArgs> cross_entropy_bwd(
    "cross_entropy_bwd",
    rows<CrossEntropyBwdArgs, run_ce_bwd, cross_entropy_bwd_fast, softmax_row_workspace>);

}  // namespace tiller
