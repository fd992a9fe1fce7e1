#include "kernels/conv2d/kernels.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/device_rows.h"
#include "kernels/gemm/mma_rows.h"
#include "kernels/group_norm/kernels.h"

namespace tiller {

namespace {

ConvShape shape_of(const ConvSizes& z) {
  const auto narrow = [](std::int64_t size) { return static_cast<int>(size); };
  return {narrow(z.n),       narrow(z.h),    narrow(z.w),
          narrow(z.c0),      narrow(z.c),    narrow(z.k),
          narrow(z.r),       narrow(z.s),    narrow(z.p),
          narrow(z.q),       narrow(z.c2),   narrow(z.c2 + z.c3),
          z.geometry.stride, z.geometry.pad, z.geometry.up2x ? 2 : 1};
}

// Whether rows, columns and terms can be counted in ints, and the tiles in a grid.
bool countable(const ConvSizes& z) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  return z.n * z.p * z.q < kMost && z.n * z.h * z.w < kMost && 4 * z.r * z.s * z.k < kMost &&
         z.r * z.s * z.c + z.c2 + z.c3 < 65535 * 64 && z.k < 65535 * 64 && z.c < 65535 * 64 &&
         z.n <= 65535;
}

template <class Args>
bool supports(const Args& args) {
  return args.dtype() != DType::f64 && countable(ConvSizes(args));
}

std::int64_t pixels_of(const Conv2dFwdArgs& args) { return args.y.dim(1) * args.y.dim(2); }

std::size_t fwd_workspace(const Conv2dFwdArgs& args) {
  if (!args.stats) return 0;
  return static_cast<std::size_t>(args.stats.numel() * group_norm_chunks(pixels_of(args))) *
         sizeof(float);
}

Conv2dFwdParams params_of(const Conv2dFwdArgs& args) {
  Conv2dFwdParams p{};
  p.z = shape_of(ConvSizes(args));
  p.x0 = view_of(args.x0);
  p.x1 = view_of(args.x1);
  p.w = view_of(args.w);
  p.bias = view_of(args.bias);
  p.residual = view_of(args.residual);
  p.skip0 = view_of(args.skip0);
  p.skip1 = view_of(args.skip1);
  p.skip_w = view_of(args.skip_w);
  p.skip_bias = view_of(args.skip_bias);
  p.y = view_of(args.y);
  p.residual_up2x = args.residual_up2x;
  return p;
}

// The statistics are of what was stored, so they are a second pass over y.
void write_stats(const Conv2dFwdArgs& args, void* workspace, Stream stream) {
  if (args.stats)
    channel_moments_v1({view_of(args.y), args.y.dim(0), pixels_of(args),
                        static_cast<float*>(workspace), args.stats.data<float>()},
                       stream);
}

template <void (*kLaunch)(const Conv2dFwdParams&, Stream)>
void run_fwd(const Conv2dFwdArgs& args, void* workspace, Stream stream) {
  kLaunch(params_of(args), stream);
  write_stats(args, workspace, stream);
}
template <void (*kLaunch)(const Conv2dDgradParams&, Stream)>
void run_dgrad(const Conv2dDgradArgs& args, void*, Stream stream) {
  kLaunch({shape_of(ConvSizes(args)), view_of(args.dy), view_of(args.w), view_of(args.dx0),
           view_of(args.dx1)},
          stream);
}
template <void (*kLaunch)(const Conv2dWgradParams&, Stream)>
void run_wgrad(const Conv2dWgradArgs& args, void*, Stream stream) {
  kLaunch({shape_of(ConvSizes(args)), view_of(args.x0), view_of(args.x1), view_of(args.dy),
           view_of(args.dw), view_of(args.dbias)},
          stream);
}

template <int kWidth, Math kMath>
bool mma_fwd_supports(const Conv2dFwdArgs& args) {
  return mma_dtype(args.dtype(), kMath) && countable(ConvSizes(args)) &&
         mma_width<kWidth>(args.w.dim(0)) && in_vectors(args.x0) && in_vectors(args.x1) &&
         in_vectors(args.skip0) && in_vectors(args.skip1);
}
template <int kWidth>
void run_mma_fwd(const Conv2dFwdArgs& args, void* workspace, Stream stream) {
  const Conv2dFwdParams c = params_of(args);
  const Tensor w = weight_for(args.w, args.dtype(), false, stream);
  const Tensor skip_w =
      args.skip_w ? weight_for(args.skip_w, args.dtype(), false, stream) : Tensor();
  MmaParams p{};
  p.z = c.z;
  p.x0 = c.x0;
  p.x1 = c.x1;
  p.skip0 = c.skip0;
  p.skip1 = c.skip1;
  p.w = w.raw();
  p.skip_w = skip_w ? skip_w.raw() : nullptr;
  p.bias = c.bias;
  p.skip_bias = c.skip_bias;
  p.residual = c.residual;
  p.y0 = c.y;
  p.split = c.z.k;
  p.residual_up2x = c.residual_up2x;
  mma_product<kWidth>(p, stream);
  write_stats(args, workspace, stream);
}

// The forward on flipped weights: dy is its input, and its outputs are the sources' channels.
template <int kWidth, Math kMath>
bool mma_dgrad_supports(const Conv2dDgradArgs& args) {
  const ConvGeometry& g = args.geometry;
  return mma_dtype(args.dtype(), kMath) && countable(ConvSizes(args)) &&
         mma_width<kWidth>(args.w.dim(3)) && g.stride == 1 && !g.up2x && g.pad < args.w.dim(1) &&
         g.pad < args.w.dim(2) && args.w.dim(1) == args.w.dim(2) && in_vectors(args.dy);
}
template <int kWidth>
void run_mma_dgrad(const Conv2dDgradArgs& args, void*, Stream stream) {
  const Tensor w = weight_for(args.w, args.dtype(), true, stream);
  const ConvShape f = shape_of(ConvSizes(args));
  MmaParams p{};
  p.z = {f.n, f.p, f.q, f.k, f.k, f.c, f.r, f.s, f.h, f.w, 0, 0, 1, f.r - 1 - f.pad, 1};
  p.x0 = view_of(args.dy);
  p.w = w.raw();
  p.y0 = view_of(args.dx0);
  p.y1 = view_of(args.dx1);
  p.split = f.c0;
  mma_product<kWidth>(p, stream);
}

template <int kWidth, Math kMath>
Row<Conv2dFwdArgs> mma_fwd_row(const char* name) {
  return {name,          kDeviceType,        kMath, RowKind::fast, mma_fwd_supports<kWidth, kMath>,
          fwd_workspace, run_mma_fwd<kWidth>};
}
template <int kWidth, Math kMath>
Row<Conv2dDgradArgs> mma_dgrad_row(const char* name) {
  return {name,    kDeviceType,          kMath, RowKind::fast, mma_dgrad_supports<kWidth, kMath>,
          nullptr, run_mma_dgrad<kWidth>};
}

}  // namespace

template <>
std::span<const Row<Conv2dFwdArgs>> rows_on<Conv2dFwdArgs, kDeviceType>() {
  static const Row<Conv2dFwdArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, supports, fwd_workspace,
       run_fwd<conv2d_fwd_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, supports, fwd_workspace,
       run_fwd<conv2d_fwd_v2>},
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
std::span<const Row<Conv2dDgradArgs>> rows_on<Conv2dDgradArgs, kDeviceType>() {
  static const Row<Conv2dDgradArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, supports, nullptr,
       run_dgrad<conv2d_dgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, supports, nullptr,
       run_dgrad<conv2d_dgrad_v2>},
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
std::span<const Row<Conv2dWgradArgs>> rows_on<Conv2dWgradArgs, kDeviceType>() {
  static const Row<Conv2dWgradArgs> rows[] = {{"v1_naive", kDeviceType, Math::f32, RowKind::study,
                                               supports, nullptr, run_wgrad<conv2d_wgrad_v1>},
                                              {"v2_tiled", kDeviceType, Math::f32, RowKind::fast,
                                               supports, nullptr, run_wgrad<conv2d_wgrad_v2>}};
  return rows;
}

}  // namespace tiller
