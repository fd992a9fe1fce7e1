#include "kernels/optimizer/optimizer.h"

#include "kernels/check.h"
#include "kernels/optimizer/fast.h"
#include "kernels/optimizer/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

void bump_versions(const std::vector<Tensor>& list) {
  for (const Tensor& t : list) t.bump_version();
}

void run_adamw(const AdamWArgs& args, void*, Stream) {
  args.dtype() == DType::f64 ? adamw_reference<double>(args) : adamw_reference<float>(args);
  bump_versions(args.p);
}
void run_ema(const EmaArgs& args, void*, Stream) {
  args.dtype() == DType::f64 ? ema_reference<double>(args) : ema_reference<float>(args);
  bump_versions(args.ema);
}
void run_norm(const NormArgs& args, void*, Stream) { norm_reference<double>(args); }
void run_scale_all(const ScaleAllArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { scale_all_reference<decltype(t)>(args); });
  bump_versions(args.x);
}

template <class Args, void (*reference)(const Args&, void*, Stream), bool (*supports)(const Args&),
          void (*fast)(const Args&, void*, Stream)>
std::span<const Row<Args>> rows(DeviceType device) {
  static const Row<Args> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments<Args>, nullptr,
       reference},
      {"v1_pieces", DeviceType::cpu, Math::f32, RowKind::fast, supports, nullptr, fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<Args>(device);
}

// `list` beside `like`: as many tensors, shape by shape, f32 or f64 throughout.
void check_list(const char* op, const char* what, const std::vector<Tensor>& list,
                const std::vector<Tensor>& like) {
  TILLER_CHECK(list.size() == like.size(), "{}: {} tensors in {}, {} parameters", op, list.size(),
               what, like.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    TILLER_CHECK(like[i].defined(), "{}: parameter {} is none", op, i);
    check_shape(op, what, list[i], like[i].shape(), like[0].device());
    const DType dtype = like[0].dtype();
    TILLER_CHECK((dtype == DType::f32 || dtype == DType::f64) && list[i].dtype() == dtype,
                 "{}: {} {} is {}; all tensors are f32 or all are f64", op, what, i,
                 to_string(list[i]));
  }
}

double numel_of(const std::vector<Tensor>& list) {
  double n = 0;
  for (const Tensor& t : list) n += static_cast<double>(t.numel());
  return n;
}

double bytes_of(const std::vector<Tensor>& list) {
  double n = 0;
  for (const Tensor& t : list) n += static_cast<double>(t.bytes());
  return n;
}

std::string describe_list(const std::vector<Tensor>& list) {
  return fmt::format("{} tensors, {:.0f} elements of {}", list.size(), numel_of(list),
                     list.empty() ? "f32" : name(list[0].dtype()));
}

}  // namespace

void check(const AdamWArgs& args) {
  check_list("adamw", "p", args.p, args.p);
  check_list("adamw", "grad", args.grad, args.p);
  check_list("adamw", "m", args.m, args.p);
  check_list("adamw", "v", args.v, args.p);
  TILLER_CHECK(args.step >= 1, "adamw: step={} does not count from 1", args.step);
  TILLER_CHECK(args.beta1 >= 0 && args.beta1 < 1 && args.beta2 >= 0 && args.beta2 < 1,
               "adamw: beta1={} and beta2={} are not within [0, 1)", args.beta1, args.beta2);
}

void check(const EmaArgs& args) {
  check_list("ema_update", "ema", args.ema, args.ema);
  check_list("ema_update", "p", args.p, args.ema);
}

void check(const NormArgs& args) {
  check_shape("global_norm", "out", args.out, {2}, args.device());
  TILLER_CHECK(args.out.dtype() == DType::f64, "global_norm: out {} is not f64",
               to_string(args.out));
  for (const Tensor& x : args.x) {
    check_floating("global_norm", "x", x);
    check_shape("global_norm", "x", x, x.shape(), args.device());
  }
}

void check(const ScaleAllArgs& args) {
  for (const Tensor& x : args.x) {
    check_floating("scale_all", "x", x);
    check_shape("scale_all", "x", x, x.shape(), args.device());
    TILLER_CHECK(x.dtype() == args.dtype(), "scale_all: {} among tensors of {}", to_string(x),
                 name(args.dtype()));
  }
}

Cost cost(const AdamWArgs& args) {
  // grad scaled 1, m 3, v 4, the denominator 3, p 4.
  return {15 * numel_of(args.p),
          bytes_of(args.p) + bytes_of(args.grad) + bytes_of(args.m) + bytes_of(args.v),
          bytes_of(args.p) + bytes_of(args.m) + bytes_of(args.v)};
}

Cost cost(const EmaArgs& args) {
  return {3 * numel_of(args.ema), bytes_of(args.ema) + bytes_of(args.p), bytes_of(args.ema)};
}

Cost cost(const NormArgs& args) {
  // Scaled, squared, added (one sum fewer than elements), and one root.
  const double n = numel_of(args.x);
  return {n > 0 ? 3 * n : 1, bytes_of(args.x), tiller::bytes_of(args.out)};
}

Cost cost(const ScaleAllArgs& args) {
  return {numel_of(args.x), bytes_of(args.x), bytes_of(args.x)};
}

std::string describe(const AdamWArgs& args) { return describe_list(args.p); }
std::string describe(const EmaArgs& args) { return describe_list(args.ema); }
std::string describe(const NormArgs& args) { return describe_list(args.x); }
std::string describe(const ScaleAllArgs& args) { return describe_list(args.x); }

const Op<AdamWArgs> adamw("adamw", rows<AdamWArgs, run_adamw, adamw_fast_supports, adamw_fast>);
const Op<EmaArgs> ema_update("ema_update", rows<EmaArgs, run_ema, ema_fast_supports, ema_fast>);
const Op<NormArgs> global_norm("global_norm",
                               rows<NormArgs, run_norm, norm_fast_supports, norm_fast>);
const Op<ScaleAllArgs> scale_all(
    "scale_all", rows<ScaleAllArgs, run_scale_all, scale_all_fast_supports, scale_all_fast>);

}  // namespace tiller
