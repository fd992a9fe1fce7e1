#include "kernels/device_rows.h"
#include "kernels/gemm/mma_rows.h"
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

// A 1x1 convolution over one row of M pixels.
ConvShape shape_of(std::int64_t m, std::int64_t c, std::int64_t k) {
  const auto narrow = [](std::int64_t size) { return static_cast<int>(size); };
  return {1, 1, narrow(m), narrow(c), narrow(c), narrow(k), 1, 1, 1, narrow(m), 0, 0, 1, 0, 1};
}

template <int kWidth, Math kMath>
bool mma_fwd_supports(const LinearFwdArgs& args) {
  return mma_dtype(args.dtype(), kMath) && !args.silu_input && fits(args.y.rows(), args.y.cols()) &&
         mma_width<kWidth>(args.y.cols()) && in_vectors(args.x);
}
template <int kWidth>
void run_mma_fwd(const LinearFwdArgs& args, void*, Stream stream) {
  const Tensor w = weight_for(args.w, args.dtype(), false, stream);
  MmaParams p{};
  p.z = shape_of(args.x.rows(), args.x.cols(), args.y.cols());
  p.x0 = view_of(args.x);
  p.w = w.raw();
  p.bias = view_of(args.bias);
  p.residual = view_of(args.residual);
  p.y0 = view_of(args.y);
  p.split = p.z.k;
  mma_product<kWidth>(p, stream);
}

template <int kWidth, Math kMath>
bool mma_dgrad_supports(const LinearDgradArgs& args) {
  return mma_dtype(args.dtype(), kMath) && fits(args.dx.rows(), args.dx.cols()) &&
         mma_width<kWidth>(args.dx.cols()) && in_vectors(args.dy);
}
template <int kWidth>
void run_mma_dgrad(const LinearDgradArgs& args, void*, Stream stream) {
  const Tensor w = weight_for(args.w, args.dtype(), true, stream);
  MmaParams p{};
  p.z = shape_of(args.dy.rows(), args.dy.cols(), args.dx.cols());
  p.x0 = view_of(args.dy);
  p.w = w.raw();
  p.y0 = view_of(args.dx);
  p.split = p.z.k;
  mma_product<kWidth>(p, stream);
}

template <int kWidth, Math kMath>
Row<LinearFwdArgs> mma_fwd_row(const char* name) {
  return {name,    kDeviceType,        kMath, RowKind::fast, mma_fwd_supports<kWidth, kMath>,
          nullptr, run_mma_fwd<kWidth>};
}
template <int kWidth, Math kMath>
Row<LinearDgradArgs> mma_dgrad_row(const char* name) {
  return {name,    kDeviceType,          kMath, RowKind::fast, mma_dgrad_supports<kWidth, kMath>,
          nullptr, run_mma_dgrad<kWidth>};
}

}  // namespace

template <>
std::span<const Row<LinearFwdArgs>> rows_on<LinearFwdArgs, kDeviceType>() {
  static const Row<LinearFwdArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, fwd_supports, nullptr,
       run_fwd<linear_fwd_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, fwd_supports, nullptr,
       run_fwd<linear_fwd_v2>},
      mma_fwd_row<64, Math::tf32>("v3_mma_tf32@128x64"),
      mma_fwd_row<128, Math::tf32>("v3_mma_tf32@128x128"),
      mma_fwd_row<96, Math::tf32>("v3_mma_tf32@128x96"),
      mma_fwd_row<192, Math::tf32>("v3_mma_tf32@128x192"),
      mma_fwd_row<256, Math::tf32>("v3_mma_tf32@128x256"),
      mma_fwd_row<64, Math::half>("v3_mma@128x64"),
      mma_fwd_row<128, Math::half>("v3_mma@128x128"),
      mma_fwd_row<96, Math::half>("v3_mma@128x96"),
      mma_fwd_row<192, Math::half>("v3_mma@128x192"),
      mma_fwd_row<256, Math::half>("v3_mma@128x256"),
  };
  return rows;
}
template <>
std::span<const Row<LinearDgradArgs>> rows_on<LinearDgradArgs, kDeviceType>() {
  static const Row<LinearDgradArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, dgrad_supports, nullptr,
       run_dgrad<linear_dgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, dgrad_supports, nullptr,
       run_dgrad<linear_dgrad_v2>},
      mma_dgrad_row<64, Math::tf32>("v3_mma_tf32@128x64"),
      mma_dgrad_row<128, Math::tf32>("v3_mma_tf32@128x128"),
      mma_dgrad_row<96, Math::tf32>("v3_mma_tf32@128x96"),
      mma_dgrad_row<192, Math::tf32>("v3_mma_tf32@128x192"),
      mma_dgrad_row<256, Math::tf32>("v3_mma_tf32@128x256"),
      mma_dgrad_row<64, Math::half>("v3_mma@128x64"),
      mma_dgrad_row<128, Math::half>("v3_mma@128x128"),
      mma_dgrad_row<96, Math::half>("v3_mma@128x96"),
      mma_dgrad_row<192, Math::half>("v3_mma@128x192"),
      mma_dgrad_row<256, Math::half>("v3_mma@128x256"),
  };
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
