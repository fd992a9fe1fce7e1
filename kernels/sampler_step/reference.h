#pragma once
// The reference row of the sampler's step, for float, double and Counted: the algorithm of
// gaussian_diffusion.py (p_sample with condition_mean, ddim_sample with condition_score) for one
// element after the other.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/reference.h"
#include "kernels/sampler_step/sampler_step.h"

namespace tiller {

/// The step's scalars in the type A that elements are computed in. What is derived here is rounded
/// once.
template <class A>
struct StepConstants {
  A sqrt_recip, sqrt_recipm1;         // of x_t and eps, giving x_0
  A coef1, coef2;                     // of x_0 and x_t, giving the posterior mean
  A recip_coef1, coef2_by_coef1;      // of x_{t-1} and x_t, giving x_0
  A log_min, log_max;                 // of the variance
  A fixed_variance, fixed_deviation;  // when the network has none
  A guidance;                         // of the gradient, DDIM: sqrt(1 - alpha_bar)
  A sqrt_prev, direction, sigma;      // of x_0, eps and noise, DDIM
  explicit StepConstants(const StepScalars& s)
      : sqrt_recip(s.sqrt_recip_alphas_cumprod),
        sqrt_recipm1(s.sqrt_recipm1_alphas_cumprod),
        coef1(s.posterior_mean_coef1),
        coef2(s.posterior_mean_coef2),
        recip_coef1(s.previous_x_recip_coef1),
        coef2_by_coef1(s.previous_x_coef2_by_coef1),
        log_min(s.log_variance_min),
        log_max(s.log_variance_max),
        fixed_variance(s.variance),
        fixed_deviation(static_cast<A>(std::exp(0.5 * static_cast<double>(s.log_variance_min)))),
        guidance(s.sqrt_one_minus_alphas_cumprod),
        sqrt_prev(static_cast<A>(std::sqrt(static_cast<double>(s.alphas_cumprod_prev)))),
        direction(static_cast<A>(std::sqrt(
            std::max(0.0, 1 - static_cast<double>(s.alphas_cumprod_prev) -
                              static_cast<double>(s.sigma) * static_cast<double>(s.sigma))))),
        sigma(s.sigma) {}
};

/// The table's row of the step that `state` stands at. Throws Error outside the table.
inline StepScalars step_scalars(const SamplerStepArgs& args, const StepState& state) {
  TILLER_CHECK(state.step >= 0 && state.step < args.table.dim(0),
               "sampler_step: step {} is not within the table's {} steps", state.step,
               args.table.dim(0));
  StepScalars scalars;
  std::memcpy(&scalars, row_of<const float>(args.table, state.step), sizeof scalars);
  return scalars;
}

/// Where entry n's noise comes from when none is given.
inline RandomKey step_noise_key(const StepState& state, std::int64_t n) {
  return {static_cast<std::uint64_t>(state.seed),
          static_cast<std::uint32_t>(state.first_sample + n),
          static_cast<std::uint32_t>(state.draw), RandomStream::step_noise};
}

/// Whether the step adds noise: not at step 0, and not in DDIM with eta = 0.
inline bool step_adds_noise(const SamplerStepArgs& args, const StepScalars& s) {
  return s.add_noise != 0 && !(args.ddim && s.sigma == 0);
}

/// x within [low, high]; NaN stays NaN. (kernels/simd.h has one for vectors.)
template <class A>
A clip(A x, A low, A high) {
  return x < low ? low : x > high ? high : x;
}

/// x_0 as the network predicts it.
template <class A>
A predict_x_start(const SamplerStepArgs& args, const StepConstants<A>& k, const A& x,
                  const A& out) {
  A x_start = out;
  if (args.mean == MeanKind::epsilon) x_start = k.sqrt_recip * x - k.sqrt_recipm1 * out;
  if (args.mean == MeanKind::previous_x) x_start = k.recip_coef1 * out - k.coef2_by_coef1 * x;
  return args.clip ? clip(x_start, A(-1), A(1)) : x_start;
}

/// Algorithm 1: mean and variance of p(x_{t-1} | x_t), the mean moved by variance * gradient.
/// `v` is the network's variance part; null pointers stand for what is absent.
template <class A>
A ddpm_element(const SamplerStepArgs& args, const StepConstants<A>& k, const A& x, const A& out,
               const A* v, const A* gradient, const A* noise, A& x_start) {
  using std::exp;
  x_start = predict_x_start<A>(args, k, x, out);
  A mean = args.mean == MeanKind::previous_x ? out : k.coef1 * x_start + k.coef2 * x;
  A log_variance = A(0);
  if (args.variance == VarianceKind::learned) log_variance = *v;
  if (args.variance == VarianceKind::learned_range) {
    const A fraction = (*v + A(1)) * A(0.5);
    log_variance = fraction * k.log_max + (A(1) - fraction) * k.log_min;
  }
  const bool fixed = args.variance == VarianceKind::fixed;
  if (gradient) mean += (fixed ? k.fixed_variance : exp(log_variance)) * *gradient;
  if (noise) mean += (fixed ? k.fixed_deviation : exp(A(0.5) * log_variance)) * *noise;
  return mean;
}

/// Algorithm 2: the gradient moves eps, x_0 follows it unclamped, and eps is derived from x_0
/// again.
template <class A>
A ddim_element(const SamplerStepArgs& args, const StepConstants<A>& k, const A& x, const A& out,
               const A* gradient, const A* noise, A& x_start) {
  x_start = predict_x_start<A>(args, k, x, out);
  if (gradient) {
    const A eps = (k.sqrt_recip * x - x_start) / k.sqrt_recipm1 - k.guidance * *gradient;
    x_start = k.sqrt_recip * x - k.sqrt_recipm1 * eps;
  }
  const A eps = (k.sqrt_recip * x - x_start) / k.sqrt_recipm1;
  A y = k.sqrt_prev * x_start + k.direction * eps;
  if (noise) y += k.sigma * *noise;
  return y;
}

template <class A>
A step_element(const SamplerStepArgs& args, const StepConstants<A>& k, const A& x, const A& out,
               const A* v, const A* gradient, const A* noise, A& x_start) {
  return args.ddim ? ddim_element<A>(args, k, x, out, gradient, noise, x_start)
                   : ddpm_element<A>(args, k, x, out, v, gradient, noise, x_start);
}

template <class A>
void sampler_step_reference(const SamplerStepArgs& args) {
  auto& state = *static_cast<StepState*>(args.state.raw());
  const StepScalars scalars = step_scalars(args, state);
  const StepConstants<A> k(scalars);
  const std::int64_t channels = args.x.cols();
  const std::int64_t rows = args.x.numel() == 0 ? 0 : args.x.rows() / args.x.dim(0);  // per entry
  const bool has_v = args.variance != VarianceKind::fixed && !args.ddim;
  const bool noisy = step_adds_noise(args, scalars);
  std::vector<float> drawn;  // [H,W,C] of one entry
  for (std::int64_t n = 0; n < args.x.dim(0) && rows > 0; ++n) {
    if (noisy && !args.noise) {
      drawn.resize(static_cast<std::size_t>(rows * channels));
      philox_normal(step_noise_key(state, n), rows * channels, drawn.data());
    }
    for (std::int64_t i = 0; i < rows * channels; ++i) {
      const std::int64_t r = n * rows + i / channels, c = i % channels;
      const A x = load<A>(args.x, r, c), out = load<A>(args.model, r, c);
      const A v = has_v ? load<A>(args.model, r, channels + c) : A(0);
      const A gradient = args.gradient ? load<A>(args.gradient, r, c) : A(0);
      const A noise = !noisy       ? A(0)
                      : args.noise ? load<A>(args.noise, r, c)
                                   : A(drawn[static_cast<std::size_t>(i)]);
      const A* gradient_at = args.gradient ? &gradient : nullptr;
      const A* noise_at = noisy ? &noise : nullptr;
      A x_start = A(0);
      const A y = step_element<A>(args, k, x, out, &v, gradient_at, noise_at, x_start);
      store<A>(args.y, r, c, y);
      if (args.x_start) store<A>(args.x_start, r, c, x_start);
    }
  }
  --state.step;
  ++state.draw;
}

}  // namespace tiller
