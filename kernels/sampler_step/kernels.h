#pragma once
// What the sampler's kernels are launched with.
#include "kernels/sampler_step/scalars.h"
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct SamplerStepParams {
  View x, model, gradient, noise, y, x_start;  // absent ones have no data
  const float* table;                          // [steps,kStepScalars]
  std::int64_t steps, table_stride;
  StepState* state;
  std::int64_t samples, per_sample;  ///< elements of one sample's x
  MeanKind mean;
  VarianceKind variance;
  bool ddim, clip;
  std::uint32_t stream;  ///< Philox's, of the step's noise
};
void sampler_step_v1(const SamplerStepParams& params, Stream stream);
void sampler_step_v2(const SamplerStepParams& params, Stream stream);
/// The state goes on to the next step: behind the kernel, whose threads all read it.
void sampler_step_advance(const SamplerStepParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
