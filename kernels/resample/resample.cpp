#include "kernels/resample/resample.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/resample/fast.h"
#include "kernels/resample/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

void run_fwd(const ResampleFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { resample_fwd_reference<decltype(t)>(args); });
}
void run_bwd(const ResampleBwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { resample_bwd_reference<decltype(t)>(args); });
}

template <class Args, void (*reference)(const Args&, void*, Stream), bool (*supports)(const Args&),
          void (*fast)(const Args&, void*, Stream)>
std::span<const Row<Args>> rows(DeviceType device) {
  static const Row<Args> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments<Args>, nullptr,
       reference},
      {"v1_taps", DeviceType::cpu, Math::f32, RowKind::fast, supports, nullptr, fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<Args>(device);
}

// x [N,H,W,C] beside y [N,P,Q,C], in the forward's sense.
void check_pair(const char* op, ResampleKind kind, const Tensor& x, const Tensor& y) {
  check_floating(op, "input", x);
  TILLER_CHECK(x.rank() == 4 && y.defined() && y.rank() == 4 && x.dim(0) == y.dim(0) &&
                   x.dim(3) == y.dim(3) && x.dtype() == y.dtype() && x.device() == y.device(),
               "{}: {} and {} are not [N,H,W,C] and [N,P,Q,C] of one dtype and device", op,
               to_string(x), to_string(y));
  const std::int64_t h = x.dim(1), w = x.dim(2), p = y.dim(1), q = y.dim(2);
  if (kind == ResampleKind::nearest_up2x) {
    TILLER_CHECK(p == 2 * h && q == 2 * w, "{}: {} is not twice {} in size", op, to_string(y),
                 to_string(x));
  } else if (kind == ResampleKind::mean_pool2x2) {
    TILLER_CHECK(h == 2 * p && w == 2 * q, "{}: {} is not half of {} in size", op, to_string(y),
                 to_string(x));
  } else {
    TILLER_CHECK(p == 0 || q == 0 || (h > 0 && w > 0), "{}: {} from an empty picture {}", op,
                 to_string(y), to_string(x));
  }
}

struct AxisCount {
  double taps = 0, ones = 0, outputs = 0, inputs = 0;
};

// Taps, taps of weight one, outputs with any tap, distinct inputs.
AxisCount count(const Axis& axis) {
  AxisCount total;
  std::vector<std::int64_t> seen;
  for (const std::vector<Tap>& taps : axis.taps) {
    total.taps += static_cast<double>(taps.size());
    total.outputs += taps.empty() ? 0 : 1;
    for (const Tap& tap : taps) {
      total.ones += tap.weight == 1 ? 1 : 0;
      seen.push_back(tap.index);
    }
  }
  std::sort(seen.begin(), seen.end());
  total.inputs = static_cast<double>(std::unique(seen.begin(), seen.end()) - seen.begin());
  return total;
}

Cost cost_of(const Tensor& x, const Tensor& y, const Axis& row_axis, const Axis& column_axis) {
  const AxisCount up = count(row_axis), across = count(column_axis);
  const double each = static_cast<double>(y.dim(0) * y.dim(3));
  const double products = up.taps * across.taps - up.ones * across.ones;
  const double sums = up.taps * across.taps - up.outputs * across.outputs;
  const double quotients = row_axis.mean ? static_cast<double>(y.dim(1) * y.dim(2)) : 0;
  return {each * (products + sums + quotients),
          each * up.inputs * across.inputs * static_cast<double>(size_of(x.dtype())), bytes_of(y)};
}

}  // namespace

const char* name(ResampleKind kind) {
  switch (kind) {
    case ResampleKind::nearest_up2x:
      return "nearest_up2x";
    case ResampleKind::mean_pool2x2:
      return "mean_pool2x2";
    case ResampleKind::bilinear:
      return "bilinear";
    case ResampleKind::area:
      return "area";
  }
  return "?";
}

void check(const ResampleFwdArgs& args) { check_pair("resample", args.kind, args.x, args.y); }
void check(const ResampleBwdArgs& args) { check_pair("resample_bwd", args.kind, args.dx, args.dy); }

Cost cost(const ResampleFwdArgs& args) {
  return cost_of(args.x, args.y, forward_axis(args.kind, args.x.dim(1), args.y.dim(1)),
                 forward_axis(args.kind, args.x.dim(2), args.y.dim(2)));
}

Cost cost(const ResampleBwdArgs& args) {
  return cost_of(args.dy, args.dx, backward_axis(args.kind, args.dx.dim(1), args.dy.dim(1)),
                 backward_axis(args.kind, args.dx.dim(2), args.dy.dim(2)));
}

std::string describe(const ResampleFwdArgs& args) {
  return fmt::format("{} x {} to {}", name(args.kind), to_string(args.x), to_string(args.y));
}
std::string describe(const ResampleBwdArgs& args) {
  return fmt::format("{} dy {} to {}", name(args.kind), to_string(args.dy), to_string(args.dx));
}

const Op<ResampleFwdArgs> resample_fwd(
    "resample_fwd", rows<ResampleFwdArgs, run_fwd, resample_fwd_fast_supports, resample_fwd_fast>);
const Op<ResampleBwdArgs> resample_bwd(
    "resample_bwd", rows<ResampleBwdArgs, run_bwd, resample_bwd_fast_supports, resample_bwd_fast>);

}  // namespace tiller
