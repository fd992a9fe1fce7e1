#include "kernels/device_rows.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/group_norm/kernels.h"

namespace tiller {

namespace {

template <class Args>
GroupNormInput input_of(const Args& args) {
  GroupNormInput in{};
  in.x0 = view_of(args.x0);
  in.x1 = view_of(args.x1);
  in.gamma = view_of(args.gamma);
  in.beta = view_of(args.beta);
  in.emb = view_of(args.emb);
  in.mean_rstd = static_cast<float*>(args.mean_rstd.raw());
  in.samples = args.x0.dim(0);
  in.pixels = in.samples ? args.x0.rows() / in.samples : 0;
  in.width = args.x0.rank() == 4 ? args.x0.dim(2) : 0;
  in.c0 = args.x0.cols();
  in.channels = in.c0 + (args.x1 ? args.x1.cols() : 0);
  in.groups = args.groups;
  in.silu = args.silu;
  in.pool = args.pool;
  return in;
}

// Floats of the partial results and of the channels' totals.
template <class Args>
std::int64_t partial_floats(const Args& args) {
  const GroupNormInput in = input_of(args);
  return 2 * in.samples * group_norm_chunks(in.pixels) * in.channels;
}
template <class Args>
std::int64_t channel_floats(const Args& args) {
  const GroupNormInput in = input_of(args);
  return 2 * in.samples * in.channels;
}

template <class Args>
bool supports(const Args& args) {
  const GroupNormInput in = input_of(args);
  return args.dtype() != DType::f64 && args.mean_rstd.dense() && in.samples <= 65535 &&
         group_norm_chunks(in.pixels) <= 65535;
}

std::size_t fwd_workspace(const GroupNormFwdArgs& args) {
  return static_cast<std::size_t>(partial_floats(args) + channel_floats(args)) * sizeof(float);
}
void run_fwd(const GroupNormFwdArgs& args, void* workspace, Stream stream) {
  GroupNormFwdParams p{};
  p.in = input_of(args);
  p.stats0 = view_of(args.stats0);
  p.stats1 = view_of(args.stats1);
  p.y = view_of(args.y);
  p.eps = static_cast<float>(args.eps);
  p.partial = static_cast<float*>(workspace);
  p.moments = p.partial + partial_floats(args);
  group_norm_fwd_v1(p, stream);
}

std::size_t bwd_workspace(const GroupNormBwdArgs& args) {
  const std::int64_t groups = 2 * args.x0.dim(0) * args.groups;
  return static_cast<std::size_t>(partial_floats(args) + channel_floats(args) + groups) *
         sizeof(float);
}
void run_bwd(const GroupNormBwdArgs& args, void* workspace, Stream stream) {
  GroupNormBwdParams p{};
  p.in = input_of(args);
  p.dy = view_of(args.dy);
  p.dx0 = view_of(args.dx0);
  p.dx1 = view_of(args.dx1);
  p.demb = view_of(args.demb);
  p.dgamma = static_cast<float*>(args.dgamma ? args.dgamma.raw() : nullptr);
  p.dbeta = static_cast<float*>(args.dbeta ? args.dbeta.raw() : nullptr);
  p.partial = static_cast<float*>(workspace);
  p.sums = p.partial + partial_floats(args);
  p.means = p.sums + channel_floats(args);
  group_norm_bwd_v1(p, stream);
}

}  // namespace

template <>
std::span<const Row<GroupNormFwdArgs>> rows_on<GroupNormFwdArgs, kDeviceType>() {
  static const Row<GroupNormFwdArgs> rows[] = {
      {"v1_chunks", kDeviceType, Math::f32, RowKind::fast, supports, fwd_workspace, run_fwd}};
  return rows;
}
template <>
std::span<const Row<GroupNormBwdArgs>> rows_on<GroupNormBwdArgs, kDeviceType>() {
  static const Row<GroupNormBwdArgs> rows[] = {
      {"v1_chunks", kDeviceType, Math::f32, RowKind::fast, supports, bwd_workspace, run_bwd}};
  return rows;
}

}  // namespace tiller
