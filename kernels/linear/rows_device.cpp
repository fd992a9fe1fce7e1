#include "kernels/device_rows.h"
#include "kernels/linear/kernels.h"
#include "kernels/linear/linear.h"

namespace tiller {

namespace {

constexpr std::int64_t kMostRows = std::int64_t{1} << 31;  // rows and columns are counted in ints
constexpr std::int64_t kMostTiles = 65535;                 // of the grid's second dimension

bool fits(std::int64_t m, std::int64_t n) { return m < kMostRows && n / 64 < kMostTiles; }

bool fwd_supports(const LinearFwdArgs& args) {
  return not_f64(args.y) && fits(args.y.rows(), args.y.cols());
}
bool dgrad_supports(const LinearDgradArgs& args) {
  return not_f64(args.dx) && fits(args.dx.rows(), args.dx.cols());
}
bool wgrad_supports(const LinearWgradArgs& args) {
  return not_f64(args.dy) && fits(args.dy.rows(), args.dw.cols() + 1);
}

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

}  // namespace

template <>
std::span<const Row<LinearFwdArgs>> rows_on<LinearFwdArgs, kDeviceType>() {
  static const Row<LinearFwdArgs> rows[] = {{"v1_naive", kDeviceType, Math::f32, RowKind::study,
                                             fwd_supports, nullptr, run_fwd<linear_fwd_v1>},
                                            {"v2_tiled", kDeviceType, Math::f32, RowKind::fast,
                                             fwd_supports, nullptr, run_fwd<linear_fwd_v2>}};
  return rows;
}
template <>
std::span<const Row<LinearDgradArgs>> rows_on<LinearDgradArgs, kDeviceType>() {
  static const Row<LinearDgradArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, dgrad_supports, nullptr,
       run_dgrad<linear_dgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, dgrad_supports, nullptr,
       run_dgrad<linear_dgrad_v2>}};
  return rows;
}
template <>
std::span<const Row<LinearWgradArgs>> rows_on<LinearWgradArgs, kDeviceType>() {
  static const Row<LinearWgradArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, wgrad_supports, nullptr,
       run_wgrad<linear_wgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, wgrad_supports, nullptr,
       run_wgrad<linear_wgrad_v2>}};
  return rows;
}

}  // namespace tiller
