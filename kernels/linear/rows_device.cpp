#include "kernels/gemm/mma_table.h"
#include "kernels/linear/kernels.h"
#include "kernels/linear/mma_rows.h"
#include "kernels/row_table.h"

namespace tiller {

namespace {

template <void (*kLaunch)(const LinearFwdParams&, Stream)>
void run_fwd(const LinearFwdArgs& args, void*, Stream stream) {
  kLaunch({view_of(args.x), view_of(args.w), view_of(args.bias), view_of(args.residual),
           view_of(args.y), args.silu_input},
          stream);
}
template <void (*kLaunch)(const LinearDgradParams&, Stream)>
void run_dgrad(const LinearDgradArgs& args, void*, Stream stream) {
  kLaunch({view_of(args.dy), view_of(args.w), view_of(args.dx)}, stream);
}
template <void (*kLaunch)(const LinearWgradParams&, Stream)>
void run_wgrad(const LinearWgradArgs& args, void*, Stream stream) {
  kLaunch(
      {view_of(args.x), view_of(args.dy), view_of(args.dw), view_of(args.dbias), args.silu_input},
      stream);
}

bool warp_supports(const LinearFwdArgs& args) {
  return fwd_supports(args) && args.y.rows() <= kWarpRows;
}

}  // namespace

template <>
std::span<const Row<LinearFwdArgs>> rows_on<LinearFwdArgs, kDeviceType>() {
  static const Row<LinearFwdArgs> plain[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, fwd_supports, nullptr,
       run_fwd<linear_fwd_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, fwd_supports, nullptr,
       run_fwd<linear_fwd_v2>},
      {"v3_warp", kDeviceType, Math::f32, RowKind::fast, warp_supports, nullptr,
       run_fwd<linear_fwd_v3_warp>},
  };
  static const RowTable<LinearFwdArgs> rows(plain, mma_rows<LinearFwdArgs>());
  return rows.rows();
}
template <>
std::span<const Row<LinearDgradArgs>> rows_on<LinearDgradArgs, kDeviceType>() {
  static const Row<LinearDgradArgs> plain[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, dgrad_supports, nullptr,
       run_dgrad<linear_dgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, dgrad_supports, nullptr,
       run_dgrad<linear_dgrad_v2>},
  };
  static const RowTable<LinearDgradArgs> rows(plain, mma_rows<LinearDgradArgs>());
  return rows.rows();
}
template <>
std::span<const Row<LinearWgradArgs>> rows_on<LinearWgradArgs, kDeviceType>() {
  static const Row<LinearWgradArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, wgrad_supports, nullptr,
       run_wgrad<linear_wgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, wgrad_supports, nullptr,
       run_wgrad<linear_wgrad_v2>},
      wgrad_row<LinearWgradArgs, Math::tf32>("v3_mma_tf32"),
      wgrad_row<LinearWgradArgs, Math::half>("v3_mma"),
  };
  return rows;
}

}  // namespace tiller
