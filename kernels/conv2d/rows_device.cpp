#include "kernels/conv2d/kernels.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/device_rows.h"
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

}  // namespace

template <>
std::span<const Row<Conv2dFwdArgs>> rows_on<Conv2dFwdArgs, kDeviceType>() {
  static const Row<Conv2dFwdArgs> rows[] = {{"v1_naive", kDeviceType, Math::f32, RowKind::study,
                                             supports, fwd_workspace, run_fwd<conv2d_fwd_v1>},
                                            {"v2_tiled", kDeviceType, Math::f32, RowKind::fast,
                                             supports, fwd_workspace, run_fwd<conv2d_fwd_v2>}};
  return rows;
}
template <>
std::span<const Row<Conv2dDgradArgs>> rows_on<Conv2dDgradArgs, kDeviceType>() {
  static const Row<Conv2dDgradArgs> rows[] = {{"v1_naive", kDeviceType, Math::f32, RowKind::study,
                                               supports, nullptr, run_dgrad<conv2d_dgrad_v1>},
                                              {"v2_tiled", kDeviceType, Math::f32, RowKind::fast,
                                               supports, nullptr, run_dgrad<conv2d_dgrad_v2>}};
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
