#include <algorithm>

#include "kernels/device_rows.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/group_norm/kernels.h"

namespace tiller {

namespace {

// v1_chunks has pieces of 256 pixels. v2_vectors has pieces of 64 and more, at most 128 of them:
// many blocks for a small image, few results to join for a large one. Neither depends on the batch,
// so a sample's statistics do not either.
enum class Version { chunks, vectors };
std::int64_t chunk_pixels(Version version, std::int64_t pixels) {
  if (version == Version::chunks) return 256;
  return std::max<std::int64_t>(64, (pixels + 127) / 128);
}

template <class Args>
GroupNormInput input_of(const Args& args, Version version) {
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
  in.chunk_pixels = chunk_pixels(version, in.pixels);
  in.silu = args.silu;
  in.pool = args.pool;
  return in;
}

// Floats of the partial results and of the channels' totals.
std::int64_t partial_floats(const GroupNormInput& in) {
  return 2 * in.samples * group_norm_chunks(in) * in.channels;
}
std::int64_t channel_floats(const GroupNormInput& in) { return 2 * in.samples * in.channels; }

template <class Args>
bool supports(const Args& args) {
  const GroupNormInput in = input_of(args, Version::chunks);
  return args.dtype() != DType::f64 && args.mean_rstd.dense() && in.samples <= 65535 &&
         group_norm_chunks(in) <= 65535;
}

// Whether a tensor, if there is one, can be read and written in 16-byte vectors of channels.
bool in_vectors(const Tensor& t) {
  return !t || (t.aligned(16) && static_cast<std::size_t>(t.cols()) * size_of(t.dtype()) % 16 == 0);
}
bool fwd_vectors(const GroupNormFwdArgs& args) {
  return supports(args) && in_vectors(args.x0) && in_vectors(args.x1) && in_vectors(args.y);
}
bool bwd_vectors(const GroupNormBwdArgs& args) {
  return supports(args) && in_vectors(args.x0) && in_vectors(args.x1) && in_vectors(args.dy) &&
         in_vectors(args.dx0) && in_vectors(args.dx1);
}

template <Version kVersion>
std::size_t fwd_workspace(const GroupNormFwdArgs& args) {
  const GroupNormInput in = input_of(args, kVersion);
  return static_cast<std::size_t>(partial_floats(in) + channel_floats(in)) * sizeof(float);
}
template <Version kVersion>
void run_fwd(const GroupNormFwdArgs& args, void* workspace, Stream stream) {
  GroupNormFwdParams p{};
  p.in = input_of(args, kVersion);
  p.stats0 = view_of(args.stats0);
  p.stats1 = view_of(args.stats1);
  p.y = view_of(args.y);
  p.eps = static_cast<float>(args.eps);
  p.partial = static_cast<float*>(workspace);
  p.moments = p.partial + partial_floats(p.in);
  (kVersion == Version::chunks ? group_norm_fwd_v1 : group_norm_fwd_v2)(p, stream);
}

template <Version kVersion>
std::size_t bwd_workspace(const GroupNormBwdArgs& args) {
  const GroupNormInput in = input_of(args, kVersion);
  const std::int64_t means = 2 * in.samples * in.groups;
  return static_cast<std::size_t>(partial_floats(in) + channel_floats(in) + means) * sizeof(float);
}
template <Version kVersion>
void run_bwd(const GroupNormBwdArgs& args, void* workspace, Stream stream) {
  GroupNormBwdParams p{};
  p.in = input_of(args, kVersion);
  p.dy = view_of(args.dy);
  p.dx0 = view_of(args.dx0);
  p.dx1 = view_of(args.dx1);
  p.demb = view_of(args.demb);
  p.dgamma = static_cast<float*>(args.dgamma ? args.dgamma.raw() : nullptr);
  p.dbeta = static_cast<float*>(args.dbeta ? args.dbeta.raw() : nullptr);
  p.partial = static_cast<float*>(workspace);
  p.sums = p.partial + partial_floats(p.in);
  p.means = p.sums + channel_floats(p.in);
  (kVersion == Version::chunks ? group_norm_bwd_v1 : group_norm_bwd_v2)(p, stream);
}

}  // namespace

template <>
std::span<const Row<GroupNormFwdArgs>> rows_on<GroupNormFwdArgs, kDeviceType>() {
  static const Row<GroupNormFwdArgs> rows[] = {
      {"v1_chunks", kDeviceType, Math::f32, RowKind::fast, supports, fwd_workspace<Version::chunks>,
       run_fwd<Version::chunks>},
      {"v2_vectors", kDeviceType, Math::f32, RowKind::fast, fwd_vectors,
       fwd_workspace<Version::vectors>, run_fwd<Version::vectors>}};
  return rows;
}
template <>
std::span<const Row<GroupNormBwdArgs>> rows_on<GroupNormBwdArgs, kDeviceType>() {
  static const Row<GroupNormBwdArgs> rows[] = {
      {"v1_chunks", kDeviceType, Math::f32, RowKind::fast, supports, bwd_workspace<Version::chunks>,
       run_bwd<Version::chunks>},
      {"v2_vectors", kDeviceType, Math::f32, RowKind::fast, bwd_vectors,
       bwd_workspace<Version::vectors>, run_bwd<Version::vectors>}};
  return rows;
}

}  // namespace tiller
