#include "kernels/elementwise/elementwise.h"

#include "kernels/check.h"
#include "kernels/elementwise/fast.h"
#include "kernels/elementwise/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

bool wide(const Tensor& t) { return t.dtype() == DType::f64; }

// A row runs in f64 when any operand is f64, else in f32.
void run_unary(const UnaryArgs& args, void*, Stream) {
  wide(args.x) || wide(args.y) ? unary_reference<double>(args) : unary_reference<float>(args);
}
void run_silu_bwd(const SiluBwdArgs& args, void*, Stream) {
  wide(args.x) || wide(args.dy) || wide(args.dx) ? silu_bwd_reference<double>(args)
                                                 : silu_bwd_reference<float>(args);
}
void run_binary(const BinaryArgs& args, void*, Stream) {
  wide(args.a) || wide(args.b) || wide(args.y) ? binary_reference<double>(args)
                                               : binary_reference<float>(args);
}
void run_where(const WhereArgs& args, void*, Stream) {
  wide(args.a) || wide(args.b) || wide(args.y) || wide(args.mask) ? where_reference<double>(args)
                                                                  : where_reference<float>(args);
}

template <class Args, void (*reference)(const Args&, void*, Stream), bool (*supports)(const Args&),
          void (*fast)(const Args&, void*, Stream)>
std::span<const Row<Args>> rows(DeviceType device) {
  static const Row<Args> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments<Args>, nullptr,
       reference},
      {"v1_blocks", DeviceType::cpu, Math::f32, RowKind::fast, supports, nullptr, fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<Args>(device);
}

double flops(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::copy:
    case UnaryKind::clamp:
    case UnaryKind::abs:
    case UnaryKind::sign:
      return 0;
    case UnaryKind::affine:
    case UnaryKind::rsqrt:
      return 2;
    case UnaryKind::silu:
      return 3;
    default:
      return 1;
  }
}

Shape broadcast_shape(Broadcast broadcast, const Tensor& a) {
  switch (broadcast) {
    case Broadcast::per_sample:
      return {a.dim(0)};
    case Broadcast::per_channel:
      return {a.dim(-1)};
    case Broadcast::per_sample_channel:
      return {a.dim(0), a.dim(-1)};
    case Broadcast::none:
      break;
  }
  return a.shape();
}

const char* text(Broadcast broadcast) {
  switch (broadcast) {
    case Broadcast::none:
      return "";
    case Broadcast::per_sample:
      return ", per sample";
    case Broadcast::per_channel:
      return ", per channel";
    case Broadcast::per_sample_channel:
      return ", per sample and channel";
  }
  return "";
}

}  // namespace

const char* name(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::copy:
      return "copy";
    case UnaryKind::affine:
      return "affine";
    case UnaryKind::clamp:
      return "clamp";
    case UnaryKind::silu:
      return "silu";
    case UnaryKind::exp:
      return "exp";
    case UnaryKind::log:
      return "log";
    case UnaryKind::sqrt:
      return "sqrt";
    case UnaryKind::rsqrt:
      return "rsqrt";
    case UnaryKind::square:
      return "square";
    case UnaryKind::abs:
      return "abs";
    case UnaryKind::sign:
      return "sign";
    case UnaryKind::tanh:
      return "tanh";
    case UnaryKind::sin:
      return "sin";
    case UnaryKind::cos:
      return "cos";
    case UnaryKind::reciprocal:
      return "reciprocal";
  }
  return "?";
}

const char* name(BinaryKind kind) {
  switch (kind) {
    case BinaryKind::add:
      return "add";
    case BinaryKind::mul:
      return "mul";
    case BinaryKind::div:
      return "div";
    case BinaryKind::maximum:
      return "maximum";
    case BinaryKind::minimum:
      return "minimum";
  }
  return "?";
}

void check(const UnaryArgs& args) {
  TILLER_CHECK(args.x.defined(), "unary {}: x is none", name(args.kind));
  // Integers become floating numbers by a copy; nothing is computed on them.
  if (args.kind != UnaryKind::copy) check_floating(name(args.kind), "x", args.x);
  check_floating(name(args.kind), "y", args.y);
  check_shape(name(args.kind), "y", args.y, args.x.shape(), args.x.device());
}

void check(const SiluBwdArgs& args) {
  check_floating("silu_bwd", "x", args.x);
  check_floating("silu_bwd", "dy", args.dy);
  check_floating("silu_bwd", "dx", args.dx);
  check_shape("silu_bwd", "dy", args.dy, args.x.shape(), args.x.device());
  check_shape("silu_bwd", "dx", args.dx, args.x.shape(), args.x.device());
}

void check(const BinaryArgs& args) {
  const char* op = name(args.kind);
  check_floating(op, "a", args.a);
  check_floating(op, "b", args.b);
  check_floating(op, "y", args.y);
  const int rank = args.broadcast == Broadcast::none                 ? 0
                   : args.broadcast == Broadcast::per_sample_channel ? 2
                                                                     : 1;
  TILLER_CHECK(args.a.rank() >= rank, "{}: a {} has too few dimensions to broadcast b {}", op,
               to_string(args.a), to_string(args.b));
  check_shape(op, "b", args.b, broadcast_shape(args.broadcast, args.a), args.a.device());
  check_shape(op, "y", args.y, args.a.shape(), args.a.device());
}

void check(const WhereArgs& args) {
  check_floating("where", "a", args.a);
  check_floating("where", "b", args.b);
  check_floating("where", "y", args.y);
  check_shape("where", "b", args.b, args.a.shape(), args.a.device());
  check_shape("where", "y", args.y, args.a.shape(), args.a.device());
  const bool per_element = args.mask.defined() && args.mask.shape() == args.a.shape();
  TILLER_CHECK(per_element || args.a.rank() >= 1, "where: mask {} does not fit a {}",
               to_string(args.mask), to_string(args.a));
  check_shape("where", "mask", args.mask, per_element ? args.a.shape() : Shape{args.a.dim(0)},
              args.a.device());
}

Cost cost(const UnaryArgs& args) {
  return {flops(args.kind) * static_cast<double>(args.x.numel()), bytes_of(args.x),
          bytes_of(args.y)};
}

Cost cost(const SiluBwdArgs& args) {
  // The sigmoid 3, its slope 4, times dy.
  return {8 * static_cast<double>(args.x.numel()), bytes_of(args.x) + bytes_of(args.dy),
          bytes_of(args.dx)};
}

Cost cost(const BinaryArgs& args) {
  const bool compares = args.kind == BinaryKind::maximum || args.kind == BinaryKind::minimum;
  const int each = (compares ? 0 : 1) + (args.alpha != 1) + (args.beta != 1);
  return {each * static_cast<double>(args.a.numel()), bytes_of(args.a) + bytes_of(args.b),
          bytes_of(args.y)};
}

Cost cost(const WhereArgs& args) {
  return {0, bytes_of(args.mask) + bytes_of(args.a) + bytes_of(args.b), bytes_of(args.y)};
}

std::string describe(const UnaryArgs& args) {
  std::string out = fmt::format("{} x {}", name(args.kind), to_string(args.x));
  if (args.x.defined() && args.y.defined() && args.x.dtype() != args.y.dtype())
    out += fmt::format(" to {}", name(args.y.dtype()));
  return out;
}

std::string describe(const SiluBwdArgs& args) { return fmt::format("x {}", to_string(args.x)); }

std::string describe(const BinaryArgs& args) {
  return fmt::format("{} a {}, b {}{}", name(args.kind), to_string(args.a), to_string(args.b),
                     text(args.broadcast));
}

std::string describe(const WhereArgs& args) {
  return fmt::format("mask {}, a {}", to_string(args.mask), to_string(args.a));
}

const Op<UnaryArgs> unary("unary", rows<UnaryArgs, run_unary, unary_fast_supports, unary_fast>);
const Op<SiluBwdArgs> silu_bwd(
    "silu_bwd", rows<SiluBwdArgs, run_silu_bwd, silu_bwd_fast_supports, silu_bwd_fast>);
const Op<BinaryArgs> binary("binary",
                            rows<BinaryArgs, run_binary, binary_fast_supports, binary_fast>);
const Op<WhereArgs> where_fwd("where_fwd",
                              rows<WhereArgs, run_where, where_fast_supports, where_fast>);

}  // namespace tiller
