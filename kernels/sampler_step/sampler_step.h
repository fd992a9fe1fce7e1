#pragma once
// One step of classifier-guided sampling, fused: from x_t, the network's output and the
// classifier's gradient to x_{t-1}. Algorithms 1 (DDPM) and 2 (DDIM) of Dhariwal & Nichol 2021.
//
// All that changes from step to step lives in a StepState on the device, and the last thing a step
// does is to advance it: the same launch (or the same CUDA graph) replays every step.
#include "kernels/sampler_step/scalars.h"
#include "runtime/op.h"
#include "runtime/random.h"

namespace tiller {

struct SamplerStepArgs {
  Tensor x;         // [N,H,W,C] x_t, f32 (f64)
  Tensor model;     // [N,H,W,C] or [N,H,W,2C] (mean part, then variance part), f32 (f64)
  Tensor gradient;  // [N,H,W,C] scale * d log p(y|x_t) / d x_t, or none
  Tensor noise;     // [N,H,W,C] or none: drawn from Philox, stream step_noise
  Tensor table;     // [steps,kStepScalars] f32
  Tensor state;     // [4] i64, advanced by the step
  Tensor y;         // [N,H,W,C] out: x_{t-1}; may be x
  Tensor x_start;  // [N,H,W,C] out, or none: the predicted x_0 (DDPM: before guidance; DDIM: after)
  MeanKind mean = MeanKind::epsilon;
  VarianceKind variance = VarianceKind::learned_range;
  bool ddim = false;
  bool clip = true;  ///< clamp x_0 to [-1, 1]

  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

void check(const SamplerStepArgs& args);
Cost cost(const SamplerStepArgs& args);
std::string describe(const SamplerStepArgs& args);

extern const Op<SamplerStepArgs> sampler_step;

}  // namespace tiller
