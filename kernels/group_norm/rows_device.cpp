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

// Floats of the partial results and of the channels' totals, and pieces of v2_vectors.
std::int64_t partial_floats(const GroupNormInput& in) {
  return 2 * in.samples * group_norm_chunks(in) * in.channels;
}
std::int64_t channel_floats(const GroupNormInput& in) { return 2 * in.samples * in.channels; }
std::int64_t pieces_of(const GroupNormInput& in) {
  const int vector = 16 / static_cast<int>(size_of(in.x0.dtype));
  return in.samples * group_norm_chunks(in) * group_norm_vector_blocks(in.channels, vector) *
         in.groups;
}

template <class Args>
bool supports(const Args& args) {
  const GroupNormInput in = input_of(args, Version::chunks);
  return args.dtype() != DType::f64 && args.mean_rstd.dense() && in.samples <= 65535 &&
         group_norm_chunks(in) <= 65535;
}

// Whether a tensor, if there is one, can be read and written in vectors of `bytes` of channels.
bool in_vectors(const Tensor& t, std::size_t bytes = 16) {
  return !t ||
         (t.aligned(bytes) && static_cast<std::size_t>(t.cols()) * size_of(t.dtype()) % bytes == 0);
}
bool in_vectors(const GroupNormFwdArgs& a, std::size_t bytes = 16) {
  return in_vectors(a.x0, bytes) && in_vectors(a.x1, bytes) && in_vectors(a.y, bytes);
}
bool in_vectors(const GroupNormBwdArgs& a, std::size_t bytes = 16) {
  return in_vectors(a.x0, bytes) && in_vectors(a.x1, bytes) && in_vectors(a.dy, bytes) &&
         in_vectors(a.add0, bytes) && in_vectors(a.dx0, bytes) && in_vectors(a.dx1, bytes);
}
template <class Args>
bool vectors(const Args& args) {
  return supports(args) && args.groups <= kMostGroups && in_vectors(args);
}

bool all_ready(const GroupNormFwdArgs& args) { return args.stats0 && (!args.x1 || args.stats1); }

// How v3_one_block takes a call: the widest vectors that a group's channels come in, and the threads
// of a block; no threads if they cannot keep a group.
struct OneBlock {
  unsigned threads = 0, vector = 0;
};
template <class Args>
OneBlock one_block(const Args& args, unsigned most_threads) {
  const GroupNormInput in = input_of(args, Version::vectors);
  const std::size_t element = size_of(args.dtype());
  const std::int64_t size = in.channels / in.groups;
  std::int64_t vector = 16 / static_cast<std::int64_t>(element);
  while (vector > 1 &&
         (size % vector != 0 || !in_vectors(args, static_cast<std::size_t>(vector) * element)))
    vector /= 2;
  const std::int64_t units = in.pool ? in.pixels / 4 : in.pixels, columns = size / vector;
  const auto threads = std::min<std::int64_t>(most_threads, (columns * units + 31) / 32 * 32);
  if (vector == 1 || in.pixels > kOneBlockPixels || columns > threads) return {};
  const std::int64_t rows = threads / columns, each = (units + rows - 1) / rows * (in.pool ? 4 : 1);
  if (each * vector > kOneBlockElements) return {};
  return {static_cast<unsigned>(threads), static_cast<unsigned>(vector)};
}
bool fwd_one_block(const GroupNormFwdArgs& args) {
  return supports(args) && !all_ready(args) && one_block(args, kOneBlockFwdThreads).threads > 0;
}
bool bwd_one_block(const GroupNormBwdArgs& args) {
  return supports(args) && !args.dgamma && !args.dbeta && !args.demb &&
         one_block(args, kOneBlockBwdThreads).threads > 0;
}

GroupNormFwdParams params_of(const GroupNormFwdArgs& args, Version version) {
  GroupNormFwdParams p{};
  p.in = input_of(args, version);
  p.stats0 = view_of(args.stats0);
  p.stats1 = view_of(args.stats1);
  p.y = view_of(args.y);
  p.eps = static_cast<float>(args.eps);
  return p;
}

std::size_t fwd_v1_workspace(const GroupNormFwdArgs& args) {
  const GroupNormInput in = input_of(args, Version::chunks);
  return static_cast<std::size_t>(partial_floats(in) + channel_floats(in)) * sizeof(float);
}
void run_fwd_v1(const GroupNormFwdArgs& args, void* workspace, Stream stream) {
  GroupNormFwdParams p = params_of(args, Version::chunks);
  p.partial = static_cast<float*>(workspace);
  p.moments = p.partial + partial_floats(p.in);
  group_norm_fwd_v1(p, stream);
}

std::size_t fwd_v2_workspace(const GroupNormFwdArgs& args) {
  if (all_ready(args)) return 0;
  const GroupNormInput in = input_of(args, Version::vectors);
  return static_cast<std::size_t>(3 * pieces_of(in)) * sizeof(float);
}
void run_fwd_v2(const GroupNormFwdArgs& args, void* workspace, Stream stream) {
  GroupNormFwdParams p = params_of(args, Version::vectors);
  p.partial = static_cast<float*>(workspace);
  p.pieces = !all_ready(args);
  group_norm_fwd_v2(p, stream);
}

void run_fwd_v3(const GroupNormFwdArgs& args, void*, Stream stream) {
  GroupNormFwdParams p = params_of(args, Version::vectors);
  const OneBlock block = one_block(args, kOneBlockFwdThreads);
  p.threads = block.threads;
  p.vector = block.vector;
  group_norm_fwd_v3(p, stream);
}

GroupNormBwdParams params_of(const GroupNormBwdArgs& args, Version version) {
  GroupNormBwdParams p{};
  p.in = input_of(args, version);
  p.dy = view_of(args.dy);
  p.add0 = view_of(args.add0);
  p.dx0 = view_of(args.dx0);
  p.dx1 = view_of(args.dx1);
  p.demb = view_of(args.demb);
  p.dgamma = static_cast<float*>(args.dgamma ? args.dgamma.raw() : nullptr);
  p.dbeta = static_cast<float*>(args.dbeta ? args.dbeta.raw() : nullptr);
  return p;
}

std::size_t bwd_v1_workspace(const GroupNormBwdArgs& args) {
  const GroupNormInput in = input_of(args, Version::chunks);
  const std::int64_t means = 2 * in.samples * in.groups;
  return static_cast<std::size_t>(partial_floats(in) + channel_floats(in) + means) * sizeof(float);
}
void run_bwd_v1(const GroupNormBwdArgs& args, void* workspace, Stream stream) {
  GroupNormBwdParams p = params_of(args, Version::chunks);
  p.partial = static_cast<float*>(workspace);
  p.sums = p.partial + partial_floats(p.in);
  p.means = p.sums + channel_floats(p.in);
  group_norm_bwd_v1(p, stream);
}

// Sums of single channels are made for these alone.
bool parameters_wanted(const GroupNormBwdArgs& args) {
  return args.dgamma || args.dbeta || args.demb;
}
std::size_t bwd_v2_workspace(const GroupNormBwdArgs& args) {
  const GroupNormInput in = input_of(args, Version::vectors);
  const std::int64_t channels =
      parameters_wanted(args) ? partial_floats(in) + channel_floats(in) : 0;
  return static_cast<std::size_t>(2 * pieces_of(in) + channels) * sizeof(float);
}
void run_bwd_v2(const GroupNormBwdArgs& args, void* workspace, Stream stream) {
  GroupNormBwdParams p = params_of(args, Version::vectors);
  p.pieces = static_cast<float*>(workspace);
  if (parameters_wanted(args)) {
    p.partial = p.pieces + 2 * pieces_of(p.in);
    p.sums = p.partial + partial_floats(p.in);
  }
  group_norm_bwd_v2(p, stream);
}

void run_bwd_v3(const GroupNormBwdArgs& args, void*, Stream stream) {
  GroupNormBwdParams p = params_of(args, Version::vectors);
  const OneBlock block = one_block(args, kOneBlockBwdThreads);
  p.threads = block.threads;
  p.vector = block.vector;
  group_norm_bwd_v3(p, stream);
}

}  // namespace

template <>
std::span<const Row<GroupNormFwdArgs>> rows_on<GroupNormFwdArgs, kDeviceType>() {
  static const Row<GroupNormFwdArgs> rows[] = {
      {"v1_chunks", kDeviceType, Math::f32, RowKind::fast, supports, fwd_v1_workspace, run_fwd_v1},
      {"v2_vectors", kDeviceType, Math::f32, RowKind::fast, vectors, fwd_v2_workspace, run_fwd_v2},
      {"v3_one_block", kDeviceType, Math::f32, RowKind::fast, fwd_one_block, nullptr, run_fwd_v3}};
  return rows;
}
template <>
std::span<const Row<GroupNormBwdArgs>> rows_on<GroupNormBwdArgs, kDeviceType>() {
  static const Row<GroupNormBwdArgs> rows[] = {
      {"v1_chunks", kDeviceType, Math::f32, RowKind::fast, supports, bwd_v1_workspace, run_bwd_v1},
      {"v2_vectors", kDeviceType, Math::f32, RowKind::fast, vectors, bwd_v2_workspace, run_bwd_v2},
      {"v3_one_block", kDeviceType, Math::f32, RowKind::fast, bwd_one_block, nullptr, run_bwd_v3}};
  return rows;
}

}  // namespace tiller
