#include "kernels/pool_tokens/pool_tokens.h"

#include "kernels/cost.h"
#include "kernels/pool_tokens/fast.h"
#include "kernels/pool_tokens/reference.h"
#include "kernels/rows_cuda.h"

namespace tiller {

namespace {

void check_tensor(const char* op, const char* what, const Tensor& t, const Shape& shape,
                  DType dtype, Device device) {
  TILLER_CHECK(t.defined() && t.shape() == shape && t.dtype() == dtype && t.device() == device,
               "{}: {} is {}, not {}{} on {}", op, what, to_string(t), name(dtype),
               to_string(shape), to_string(device));
}

template <class Args>
bool always(const Args&) {
  return true;
}

void run_fwd(const PoolTokensFwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { pool_tokens_fwd_reference<decltype(t)>(args); });
}
void run_bwd(const PoolTokensBwdArgs& args, void*, Stream) {
  dispatch_floating(args.dtype(), [&](auto t) { pool_tokens_bwd_reference<decltype(t)>(args); });
}

template <class Args>
bool not_f64(const Args& args) {
  return args.dtype() != DType::f64;
}

template <class Args, void (*kReference)(const Args&, void*, Stream),
          void (*kFast)(const Args&, void*, Stream)>
std::span<const Row<Args>> rows(DeviceType device) {
  static const Row<Args> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always<Args>, nullptr,
       kReference},
      {"v1_stripes", DeviceType::cpu, Math::f32, RowKind::fast, not_f64<Args>, nullptr, kFast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<Args>(device);
}

}  // namespace

void check(const PoolTokensFwdArgs& args) {
  const char* op = "pool_tokens";
  TILLER_CHECK(args.x.defined() && args.x.rank() == 3 && is_floating(args.x.dtype()),
               "{}: x {} is not a floating [N,T,C]", op, to_string(args.x));
  const std::int64_t tokens = args.x.dim(1), channels = args.x.dim(2);
  TILLER_CHECK(tokens >= 1, "{}: x {} has no token", op, to_string(args.x));
  const Device device = args.x.device();
  check_tensor(op, "pos", args.pos, {1 + tokens, channels}, accumulate_dtype(args.x.dtype()),
               device);
  check_tensor(op, "y", args.y, {args.x.dim(0), 1 + tokens, channels}, args.x.dtype(), device);
}

void check(const PoolTokensBwdArgs& args) {
  const char* op = "pool_tokens_bwd";
  TILLER_CHECK(args.dy.defined() && args.dy.rank() == 3 && is_floating(args.dy.dtype()),
               "{}: dy {} is not a floating [N,1+T,C]", op, to_string(args.dy));
  const std::int64_t tokens = args.dy.dim(1) - 1, channels = args.dy.dim(2);
  TILLER_CHECK(tokens >= 1, "{}: dy {} has no token behind the mean's", op, to_string(args.dy));
  const Device device = args.dy.device();
  if (args.dx)
    check_tensor(op, "dx", args.dx, {args.dy.dim(0), tokens, channels}, args.dy.dtype(), device);
  if (args.dpos)
    check_tensor(op, "dpos", args.dpos, {1 + tokens, channels}, accumulate_dtype(args.dy.dtype()),
                 device);
}

Cost cost(const PoolTokensFwdArgs& args) {
  // Per channel: T additions and a division for the mean, 1 + T additions of pos.
  const double per_channel = 2.0 * static_cast<double>(args.x.dim(1)) + 2;
  return {static_cast<double>(args.x.dim(0) * args.x.dim(2)) * per_channel,
          bytes(args.x) + bytes(args.pos), bytes(args.y)};
}

Cost cost(const PoolTokensBwdArgs& args) {
  Cost total;
  if (args.dx)
    total +=
        {static_cast<double>(args.dy.dim(0) * args.dy.dim(1) * args.dy.dim(2)), 0, bytes(args.dx)};
  if (args.dpos) total += {static_cast<double>(args.dy.numel()), 0, bytes(args.dpos)};
  if (args.dx || args.dpos) total.bytes_read = bytes(args.dy);
  return total;
}

std::string describe(const PoolTokensFwdArgs& args) {
  return fmt::format("x {}", to_string(args.x));
}
std::string describe(const PoolTokensBwdArgs& args) {
  return fmt::format("dy {}{}{}", to_string(args.dy), args.dx ? ", dx" : "",
                     args.dpos ? ", dpos" : "");
}

const Op<PoolTokensFwdArgs> pool_tokens_fwd("pool_tokens_fwd",
                                            rows<PoolTokensFwdArgs, run_fwd, pool_tokens_fwd_fast>);
const Op<PoolTokensBwdArgs> pool_tokens_bwd("pool_tokens_bwd",
                                            rows<PoolTokensBwdArgs, run_bwd, pool_tokens_bwd_fast>);

}  // namespace tiller
