#include <cmath>

#include "kernels/device_rows.h"
#include "kernels/embedding/embedding.h"
#include "kernels/embedding/kernels.h"

namespace tiller {

namespace {

bool fwd_supports(const EmbeddingFwdArgs& args) { return not_f64(args.table, args.addend, args.y); }
void run_fwd(const EmbeddingFwdArgs& args, void*, Stream stream) {
  embedding_fwd_v1(
      {view_of(args.table), view_of(args.addend), view_of(args.y), args.index.data<std::int64_t>()},
      stream);
}

bool bwd_supports(const EmbeddingBwdArgs& args) { return not_f64(args.dy, args.dtable); }
void run_bwd(const EmbeddingBwdArgs& args, void*, Stream stream) {
  embedding_bwd_v1({view_of(args.dy), view_of(args.dtable), args.index.data<std::int64_t>()},
                   stream);
}

bool timestep_supports(const TimestepEmbeddingArgs& args) { return not_f64(args.t, args.y); }
void run_timestep(const TimestepEmbeddingArgs& args, void*, Stream stream) {
  const auto log_period = static_cast<float>(-std::log(args.max_period));
  timestep_embedding_v1({view_of(args.t), view_of(args.y), log_period}, stream);
}

}  // namespace

template <>
std::span<const Row<EmbeddingFwdArgs>> rows_on<EmbeddingFwdArgs, kDeviceType>() {
  static const Row<EmbeddingFwdArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, fwd_supports, nullptr, run_fwd}};
  return rows;
}
template <>
std::span<const Row<EmbeddingBwdArgs>> rows_on<EmbeddingBwdArgs, kDeviceType>() {
  static const Row<EmbeddingBwdArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, bwd_supports, nullptr, run_bwd}};
  return rows;
}
template <>
std::span<const Row<TimestepEmbeddingArgs>> rows_on<TimestepEmbeddingArgs, kDeviceType>() {
  static const Row<TimestepEmbeddingArgs> rows[] = {
      {"v1_flat", kDeviceType, Math::f32, RowKind::fast, timestep_supports, nullptr, run_timestep}};
  return rows;
}

}  // namespace tiller
