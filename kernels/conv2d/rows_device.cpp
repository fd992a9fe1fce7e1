#include "kernels/conv2d/device_params.h"
#include "kernels/conv2d/mma_rows.h"
#include "kernels/gemm/mma_table.h"
#include "kernels/group_norm/kernels.h"
#include "kernels/row_table.h"

namespace tiller {

namespace {

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
  static const Row<Conv2dFwdArgs> plain[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, supports, fwd_workspace,
       run_fwd<conv2d_fwd_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, supports, fwd_workspace,
       run_fwd<conv2d_fwd_v2>},
  };
  static const RowTable<Conv2dFwdArgs> rows(plain, mma_rows<Conv2dFwdArgs>());
  return rows.rows();
}
template <>
std::span<const Row<Conv2dDgradArgs>> rows_on<Conv2dDgradArgs, kDeviceType>() {
  static const Row<Conv2dDgradArgs> plain[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, supports, nullptr,
       run_dgrad<conv2d_dgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, supports, nullptr,
       run_dgrad<conv2d_dgrad_v2>},
  };
  static const RowTable<Conv2dDgradArgs> rows(plain, mma_rows<Conv2dDgradArgs>());
  return rows.rows();
}
template <>
std::span<const Row<Conv2dWgradArgs>> rows_on<Conv2dWgradArgs, kDeviceType>() {
  static const Row<Conv2dWgradArgs> rows[] = {
      {"v1_naive", kDeviceType, Math::f32, RowKind::study, supports, nullptr,
       run_wgrad<conv2d_wgrad_v1>},
      {"v2_tiled", kDeviceType, Math::f32, RowKind::fast, supports, nullptr,
       run_wgrad<conv2d_wgrad_v2>},
      wgrad_row<Conv2dWgradArgs, Math::tf32>("v3_mma_tf32"),
      wgrad_row<Conv2dWgradArgs, Math::half>("v3_mma"),
  };
  return rows;
}

}  // namespace tiller
