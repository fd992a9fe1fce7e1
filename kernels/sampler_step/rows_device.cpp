#include "kernels/device_rows.h"
#include "kernels/sampler_step/kernels.h"
#include "kernels/sampler_step/sampler_step.h"

namespace tiller {

namespace {

bool supports(const SamplerStepArgs& args) { return not_f64(args.x); }
// RGB pictures by four pixels: twelve values, in vectors of four.
bool vectors(const SamplerStepArgs& args) {
  const auto dense = [](const Tensor& t) {
    return !t || (t.dtype() == DType::f32 && t.dense() && starts_aligned(t));
  };
  return args.x.cols() == 3 && args.x.rows() % 4 == 0 && args.x.dim(0) > 0 &&
         args.x.rows() / args.x.dim(0) % 4 == 0 && dense(args.x) && dense(args.model) &&
         dense(args.gradient) && dense(args.noise) && dense(args.y) && dense(args.x_start);
}
template <void (*kLaunch)(const SamplerStepParams&, Stream)>
void run_step(const SamplerStepArgs& args, void*, Stream stream) {
  SamplerStepParams p{};
  p.x = view_of(args.x);
  p.model = view_of(args.model);
  p.gradient = view_of(args.gradient);
  p.noise = view_of(args.noise);
  p.y = view_of(args.y);
  p.x_start = view_of(args.x_start);
  p.table = args.table.data<float>();
  p.steps = args.table.dim(0);
  p.table_stride = args.table.row_stride();
  p.state = static_cast<StepState*>(args.state.raw());
  p.samples = args.x.dim(0);
  p.per_sample = p.samples ? args.x.numel() / p.samples : 0;
  p.mean = args.mean;
  p.variance = args.variance;
  p.ddim = args.ddim;
  p.clip = args.clip;
  p.stream = static_cast<std::uint32_t>(RandomStream::step_noise);
  kLaunch(p, stream);
}

}  // namespace

template <>
std::span<const Row<SamplerStepArgs>> rows_on<SamplerStepArgs, kDeviceType>() {
  static const Row<SamplerStepArgs> rows[] = {{"v1_quads", kDeviceType, Math::f32, RowKind::fast,
                                               supports, nullptr, run_step<sampler_step_v1>},
                                              {"v2_pixels", kDeviceType, Math::f32, RowKind::fast,
                                               vectors, nullptr, run_step<sampler_step_v2>}};
  return rows;
}

}  // namespace tiller
