#include "kernels/sampler_step/sampler_step.h"
#include "autograd/ops.h"

namespace tiller {

void step_sampler(const SamplerStepArgs& args) {
  check(args);
  run(sampler_step, args);
}

}  // namespace tiller
