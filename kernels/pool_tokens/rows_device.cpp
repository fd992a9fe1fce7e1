#include "kernels/device_rows.h"
#include "kernels/pool_tokens/kernels.h"
#include "kernels/pool_tokens/pool_tokens.h"

namespace tiller {

namespace {

template <class Args>
bool supports(const Args& args) {
  return args.dtype() != DType::f64;
}
void run_fwd(const PoolTokensFwdArgs& args, void*, Stream stream) {
  pool_tokens_fwd_v1(
      {view_of(args.x), view_of(args.pos), view_of(args.y), args.x.dim(0), args.x.dim(1)}, stream);
}
void run_bwd(const PoolTokensBwdArgs& args, void*, Stream stream) {
  pool_tokens_bwd_v1(
      {view_of(args.dy), view_of(args.dx), view_of(args.dpos), args.dy.dim(0), args.dy.dim(1) - 1},
      stream);
}

}  // namespace

template <>
std::span<const Row<PoolTokensFwdArgs>> rows_on<PoolTokensFwdArgs, kDeviceType>() {
  static const Row<PoolTokensFwdArgs> rows[] = {
      {"v1_columns", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_fwd}};
  return rows;
}
template <>
std::span<const Row<PoolTokensBwdArgs>> rows_on<PoolTokensBwdArgs, kDeviceType>() {
  static const Row<PoolTokensBwdArgs> rows[] = {
      {"v1_columns", kDeviceType, Math::f32, RowKind::fast, supports, nullptr, run_bwd}};
  return rows;
}

}  // namespace tiller
