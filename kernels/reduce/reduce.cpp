#include "kernels/reduce/reduce.h"

#include "kernels/check.h"
#include "kernels/reduce/fast.h"
#include "kernels/reduce/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

bool wide(const Tensor& t) { return t.dtype() == DType::f64; }

void run_reduce(const ReduceArgs& args, void*, Stream) {
  wide(args.x) || wide(args.y) ? reduce_reference<double>(args) : reduce_reference<float>(args);
}
void run_broadcast_to(const BroadcastToArgs& args, void*, Stream) {
  wide(args.x) || wide(args.y) ? broadcast_to_reference<double>(args)
                               : broadcast_to_reference<float>(args);
}

std::span<const Row<ReduceArgs>> reduce_rows(DeviceType device) {
  static const Row<ReduceArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments, nullptr,
       run_reduce},
      {"v1_chunks", DeviceType::cpu, Math::f32, RowKind::fast, reduce_fast_supports,
       reduce_fast_workspace, reduce_fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<ReduceArgs>(device);
}

std::span<const Row<BroadcastToArgs>> broadcast_to_rows(DeviceType device) {
  static const Row<BroadcastToArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments, nullptr,
       run_broadcast_to},
      {"v1_blocks", DeviceType::cpu, Math::f32, RowKind::fast, broadcast_to_fast_supports, nullptr,
       broadcast_to_fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<BroadcastToArgs>(device);
}

// The shape of a reduction of `x`.
Shape reduced_shape(const char* op, ReduceOver over, const Tensor& x) {
  const int rank = over == ReduceOver::all ? 0 : over == ReduceOver::spatial ? 2 : 1;
  TILLER_CHECK(x.rank() >= rank, "{}: over={} needs more dimensions than {}", op, name(over),
               to_string(x));
  switch (over) {
    case ReduceOver::all:
      return {};
    case ReduceOver::features:
      return {x.dim(0)};
    case ReduceOver::leading:
      return {x.dim(-1)};
    case ReduceOver::spatial:
      return {x.dim(0), x.dim(-1)};
    case ReduceOver::last:
      break;
  }
  return Shape(x.shape().dims().first(static_cast<std::size_t>(x.rank() - 1)));
}

}  // namespace

const char* name(ReduceOver over) {
  switch (over) {
    case ReduceOver::all:
      return "all";
    case ReduceOver::features:
      return "features";
    case ReduceOver::leading:
      return "leading";
    case ReduceOver::spatial:
      return "spatial";
    case ReduceOver::last:
      return "last";
  }
  return "?";
}

const char* name(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum:
      return "sum";
    case ReduceKind::mean:
      return "mean";
    case ReduceKind::sum_squares:
      return "sum_squares";
    case ReduceKind::mean_squares:
      return "mean_squares";
    case ReduceKind::sum_abs:
      return "sum_abs";
    case ReduceKind::max:
      return "max";
  }
  return "?";
}

void check(const ReduceArgs& args) {
  check_floating("reduce", "x", args.x);
  check_floating("reduce", "y", args.y);
  check_shape("reduce", "y", args.y, reduced_shape("reduce", args.over, args.x), args.x.device());
  TILLER_CHECK(
      args.y.dtype() == args.x.dtype() || args.y.dtype() == accumulate_dtype(args.x.dtype()),
      "reduce: y {} is neither of x's dtype nor of its accumulator's, x {}", to_string(args.y),
      to_string(args.x));
  const ReduceView v = reduce_view(args.over, args.x.shape());
  TILLER_CHECK(args.kind != ReduceKind::max || v.summed > 0 || args.y.numel() == 0,
               "reduce: the maximum of no elements, x {}", to_string(args.x));
}

void check(const BroadcastToArgs& args) {
  check_floating("broadcast_to", "x", args.x);
  check_floating("broadcast_to", "y", args.y);
  check_shape("broadcast_to", "x", args.x, reduced_shape("broadcast_to", args.over, args.y),
              args.y.device());
}

Cost cost(const ReduceArgs& args) {
  const ReduceView v = reduce_view(args.over, args.x.shape());
  const auto n = static_cast<double>(v.summed);
  double flops = n > 0 ? n - 1 : 0;
  switch (args.kind) {
    case ReduceKind::sum:
    case ReduceKind::sum_abs:
      break;
    case ReduceKind::mean:
      flops += 1;
      break;
    case ReduceKind::sum_squares:
      flops += n;
      break;
    case ReduceKind::mean_squares:
      flops += n + 1;
      break;
    case ReduceKind::max:
      flops = 0;
      break;
  }
  return {flops * static_cast<double>(v.outer * v.inner), bytes_of(args.x), bytes_of(args.y)};
}

Cost cost(const BroadcastToArgs& args) {
  const double flops = args.scale != 1 ? static_cast<double>(args.y.numel()) : 0;
  return {flops, args.y.numel() > 0 ? bytes_of(args.x) : 0, bytes_of(args.y)};
}

std::string describe(const ReduceArgs& args) {
  return fmt::format("{} over {}, x {}", name(args.kind), name(args.over), to_string(args.x));
}
std::string describe(const BroadcastToArgs& args) {
  return fmt::format("over {}, y {}", name(args.over), to_string(args.y));
}

const Op<ReduceArgs> reduce("reduce", reduce_rows);
const Op<BroadcastToArgs> broadcast_to("broadcast_to", broadcast_to_rows);

}  // namespace tiller
