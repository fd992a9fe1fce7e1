#include "kernels/device_rows.h"
#include "kernels/resample/kernels.h"
#include "kernels/resample/resample.h"

namespace tiller {

namespace {

ResampleParams params_of(ResampleKind kind, const Tensor& x, const Tensor& y) {
  return {kind, view_of(x), view_of(y), x.dim(0), x.dim(1), x.dim(2), y.dim(1), y.dim(2)};
}

bool fwd_supports(const ResampleFwdArgs& args) { return not_f64(args.x); }
bool fwd_vectors(const ResampleFwdArgs& args) {
  return all_in_eights(args.x, args.y) && args.x.cols() % 8 == 0;
}
template <void (*kLaunch)(const ResampleParams&, Stream)>
void run_fwd(const ResampleFwdArgs& args, void*, Stream stream) {
  kLaunch(params_of(args.kind, args.x, args.y), stream);
}

bool bwd_supports(const ResampleBwdArgs& args) { return not_f64(args.dy); }
bool bwd_vectors(const ResampleBwdArgs& args) {
  return all_in_eights(args.dy, args.dx) && args.dy.cols() % 8 == 0;
}
template <void (*kLaunch)(const ResampleParams&, Stream)>
void run_bwd(const ResampleBwdArgs& args, void*, Stream stream) {
  kLaunch(params_of(args.kind, args.dx, args.dy), stream);
}

}  // namespace

template <>
std::span<const Row<ResampleFwdArgs>> rows_on<ResampleFwdArgs, kDeviceType>() {
  static const Row<ResampleFwdArgs> rows[] = {{"v1_gather", kDeviceType, Math::f32, RowKind::fast,
                                               fwd_supports, nullptr, run_fwd<resample_fwd_v1>},
                                              {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                               fwd_vectors, nullptr, run_fwd<resample_fwd_v2>}};
  return rows;
}
template <>
std::span<const Row<ResampleBwdArgs>> rows_on<ResampleBwdArgs, kDeviceType>() {
  static const Row<ResampleBwdArgs> rows[] = {{"v1_gather", kDeviceType, Math::f32, RowKind::fast,
                                               bwd_supports, nullptr, run_bwd<resample_bwd_v1>},
                                              {"v2_vectors", kDeviceType, Math::f32, RowKind::fast,
                                               bwd_vectors, nullptr, run_bwd<resample_bwd_v2>}};
  return rows;
}

}  // namespace tiller
