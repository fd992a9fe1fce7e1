#pragma once
// One element's way through a sampler's step, and what a step's elements share.
#include "kernels/sampler_step/kernels.h"
#include "kernels/view.cuh"
#include "runtime/philox.h"

namespace tiller {
inline namespace TILLER_DEVICE {

__device__ __forceinline__ float clamp_unit(float x) {  // NaN stays NaN
  return x < -1.0f ? -1.0f : x > 1.0f ? 1.0f : x;
}

__device__ __forceinline__ float predict_x_start(const SamplerStepParams& p, const StepScalars& s,
                                                 float x, float out) {
  float x_start = out;
  if (p.mean == MeanKind::epsilon)
    x_start = s.sqrt_recip_alphas_cumprod * x - s.sqrt_recipm1_alphas_cumprod * out;
  if (p.mean == MeanKind::previous_x)
    x_start = s.previous_x_recip_coef1 * out - s.previous_x_coef2_by_coef1 * x;
  return p.clip ? clamp_unit(x_start) : x_start;
}

// What one step derives from its scalars, rounded once.
struct Derived {
  float fixed_deviation, sqrt_prev, direction;
};

__device__ __forceinline__ Derived derive(const StepScalars& s) {
  const double prev = s.alphas_cumprod_prev, sigma = s.sigma;
  const double rest = 1.0 - prev - sigma * sigma;
  return {static_cast<float>(exp(0.5 * static_cast<double>(s.log_variance_min))),
          static_cast<float>(sqrt(prev)), static_cast<float>(sqrt(rest > 0.0 ? rest : 0.0))};
}

struct Element {
  float x, out, v, gradient, noise;
  bool guided, noisy;
};

__device__ __forceinline__ float ddpm(const SamplerStepParams& p, const StepScalars& s,
                                      const Derived& d, const Element& e, float& x_start) {
  x_start = predict_x_start(p, s, e.x, e.out);
  float mean = p.mean == MeanKind::previous_x
                   ? e.out
                   : s.posterior_mean_coef1 * x_start + s.posterior_mean_coef2 * e.x;
  float log_variance = 0.0f;
  if (p.variance == VarianceKind::learned) log_variance = e.v;
  if (p.variance == VarianceKind::learned_range) {
    const float fraction = (e.v + 1.0f) * 0.5f;
    log_variance = fraction * s.log_variance_max + (1.0f - fraction) * s.log_variance_min;
  }
  const bool fixed = p.variance == VarianceKind::fixed;
  if (e.guided) mean += (fixed ? s.variance : expf(log_variance)) * e.gradient;
  if (e.noisy) mean += (fixed ? d.fixed_deviation : expf(0.5f * log_variance)) * e.noise;
  return mean;
}

__device__ __forceinline__ float ddim(const SamplerStepParams& p, const StepScalars& s,
                                      const Derived& d, const Element& e, float& x_start) {
  const float recip = s.sqrt_recip_alphas_cumprod, recipm1 = s.sqrt_recipm1_alphas_cumprod;
  x_start = predict_x_start(p, s, e.x, e.out);
  if (e.guided) {
    const float eps =
        (recip * e.x - x_start) / recipm1 - s.sqrt_one_minus_alphas_cumprod * e.gradient;
    x_start = recip * e.x - recipm1 * eps;
  }
  const float eps = (recip * e.x - x_start) / recipm1;
  float y = d.sqrt_prev * x_start + d.direction * eps;
  if (e.noisy) y += s.sigma * e.noise;
  return y;
}

/// The scalars of the step that the state points at.
__device__ __forceinline__ StepScalars scalars_of(const SamplerStepParams& p,
                                                  const StepState& state) {
  device_check(state.step >= 0 && state.step < p.steps,
               "sampler_step: step %lld is not within the table's %lld steps",
               static_cast<long long>(state.step), static_cast<long long>(p.steps));
  return *reinterpret_cast<const StepScalars*>(p.table + state.step * p.table_stride);
}
__device__ __forceinline__ bool adds_noise(const SamplerStepParams& p, const StepScalars& s) {
  return s.add_noise != 0.0f && !(p.ddim && s.sigma == 0.0f);
}
/// The noise of elements 4 quad ... 4 quad + 3 of a sample.
__device__ __forceinline__ PhiloxFloats draw_noise(const SamplerStepParams& p,
                                                   const StepState& state, std::int64_t sample,
                                                   std::int64_t quad) {
  return normals_of(philox(
      {{static_cast<std::uint32_t>(quad), static_cast<std::uint32_t>(state.first_sample + sample),
        static_cast<std::uint32_t>(state.draw), p.stream}},
      static_cast<std::uint32_t>(state.seed),
      static_cast<std::uint32_t>(static_cast<std::uint64_t>(state.seed) >> 32)));
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
