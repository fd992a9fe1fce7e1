#include "kernels/sampler_step/sampler_step.h"

#include "kernels/check.h"
#include "kernels/rows_cuda.h"
#include "kernels/sampler_step/fast.h"
#include "kernels/sampler_step/reference.h"

namespace tiller {

namespace {

void run_reference(const SamplerStepArgs& args, void*, Stream) {
  args.dtype() == DType::f64 ? sampler_step_reference<double>(args)
                             : sampler_step_reference<float>(args);
}

std::span<const Row<SamplerStepArgs>> rows(DeviceType device) {
  static const Row<SamplerStepArgs> cpu[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, any_arguments, nullptr,
       run_reference},
      {"v1_blocks", DeviceType::cpu, Math::f32, RowKind::fast, sampler_step_fast_supports, nullptr,
       sampler_step_fast},
  };
  if (device == DeviceType::cpu) return cpu;
  return device_rows<SamplerStepArgs>(device);
}

void check_picture(const SamplerStepArgs& args, const char* what, const Tensor& t,
                   const Shape& shape) {
  check_shape("sampler_step", what, t, shape, args.x.device());
  TILLER_CHECK(t.dtype() == args.x.dtype(), "sampler_step: {} {} beside x {}", what, to_string(t),
               to_string(args.x));
}

const char* name(MeanKind kind) {
  switch (kind) {
    case MeanKind::epsilon:
      return "epsilon";
    case MeanKind::x_start:
      return "x_start";
    case MeanKind::previous_x:
      return "previous_x";
  }
  return "?";
}

const char* name(VarianceKind kind) {
  switch (kind) {
    case VarianceKind::fixed:
      return "fixed";
    case VarianceKind::learned:
      return "learned";
    case VarianceKind::learned_range:
      return "learned_range";
  }
  return "?";
}

}  // namespace

void check(const SamplerStepArgs& args) {
  const char* op = "sampler_step";
  TILLER_CHECK(args.x.defined() && args.x.rank() >= 2 &&
                   (args.x.dtype() == DType::f32 || args.x.dtype() == DType::f64),
               "{}: x {} is not f32[N,H,W,C] (or f64)", op, to_string(args.x));
  const Shape& shape = args.x.shape();
  const bool learned = args.variance != VarianceKind::fixed;
  check_picture(args, "model", args.model, learned ? shape.with(-1, 2 * shape[-1]) : shape);
  if (args.gradient) check_picture(args, "gradient", args.gradient, shape);
  if (args.noise) check_picture(args, "noise", args.noise, shape);
  check_picture(args, "y", args.y, shape);
  if (args.x_start) check_picture(args, "x_start", args.x_start, shape);
  TILLER_CHECK(args.table.defined() && args.table.rank() == 2, "{}: table {} is not [steps,{}]", op,
               to_string(args.table), kStepScalars);
  check_shape(op, "table", args.table, {args.table.dim(0), kStepScalars}, args.x.device());
  check_shape(op, "state", args.state, {4}, args.x.device());
  TILLER_CHECK(args.table.dtype() == DType::f32 && args.state.dtype() == DType::i64,
               "{}: table {} is not f32, or state {} is not i64", op, to_string(args.table),
               to_string(args.state));
}

// Of a step that adds noise; the random numbers themselves are integer work and count no flop.
Cost cost(const SamplerStepArgs& args) {
  const bool learned = args.variance != VarianceKind::fixed && !args.ddim;
  double each = args.mean == MeanKind::x_start ? 0 : 3;  // x_0
  if (args.ddim) {
    each += 3 + 3 + 2;                 // eps, the mean, the noise
    if (args.gradient) each += 5 + 3;  // eps moved, x_0 from it
  } else {
    each += args.mean == MeanKind::previous_x ? 0 : 3;             // the mean
    each += args.variance == VarianceKind::learned_range ? 6 : 0;  // log variance
    if (args.gradient) each += learned ? 3 : 2;
    each += learned ? 4 : 2;  // the noise
  }
  const double picture = bytes_of(args.x);
  Cost total;
  total.flops = each * static_cast<double>(args.x.numel());
  total.bytes_read = picture * (learned ? 3 : 2) + bytes_of(args.gradient) + bytes_of(args.noise) +
                     sizeof(StepScalars) + sizeof(StepState);
  total.bytes_written = picture + bytes_of(args.x_start) + 2 * sizeof(std::int64_t);
  return total;
}

std::string describe(const SamplerStepArgs& args) {
  return fmt::format("{} x {}, {}, {}{}{}", args.ddim ? "ddim" : "ddpm", to_string(args.x),
                     name(args.mean), name(args.variance), args.clip ? ", clip" : "",
                     args.gradient ? ", guided" : "");
}

const Op<SamplerStepArgs> sampler_step("sampler_step", rows);

}  // namespace tiller
