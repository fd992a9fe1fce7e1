#pragma once
// The fast CPU row of the sampler's step.
#include "kernels/sampler_step/sampler_step.h"

namespace tiller {

bool sampler_step_fast_supports(const SamplerStepArgs& args);
void sampler_step_fast(const SamplerStepArgs& args, void* workspace, Stream stream);

}  // namespace tiller
