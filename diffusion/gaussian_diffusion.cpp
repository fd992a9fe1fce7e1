#include "diffusion/gaussian_diffusion.h"

#include <cmath>

#include "diffusion/schedule.h"

namespace tiller {

DiffusionConfig diffusion_config(std::int64_t diffusion_steps, const std::string& noise_schedule,
                                 const std::string& timestep_respacing, bool learn_sigma,
                                 bool sigma_small, bool use_kl, bool predict_xstart,
                                 bool rescale_timesteps, bool rescale_learned_sigmas) {
  DiffusionConfig config;
  config.diffusion_steps = diffusion_steps;
  config.noise_schedule = noise_schedule;
  config.timestep_respacing = timestep_respacing;
  config.mean = predict_xstart ? MeanKind::x_start : MeanKind::epsilon;
  config.variance = learn_sigma   ? VarianceType::learned_range
                    : sigma_small ? VarianceType::fixed_small
                                  : VarianceType::fixed_large;
  config.loss = use_kl                   ? LossType::rescaled_kl
                : rescale_learned_sigmas ? LossType::rescaled_mse
                                         : LossType::mse;
  config.rescale_timesteps = rescale_timesteps;
  return config;
}

GaussianDiffusion::GaussianDiffusion(const DiffusionConfig& config)
    : config_(config),
      kept_(space_timesteps(config.diffusion_steps, config.timestep_respacing)),
      coefficients_(respaced_betas(
          named_beta_schedule(config.noise_schedule, config.diffusion_steps), kept_)) {}

float GaussianDiffusion::timestep(std::int64_t step) const {
  TILLER_CHECK(step >= 0 && step < steps(), "step {} is not in [0, {})", step, steps());
  const auto original = static_cast<float>(kept_[static_cast<std::size_t>(step)]);
  if (!config_.rescale_timesteps) return original;
  return original * static_cast<float>(1000.0 / static_cast<double>(config_.diffusion_steps));
}

Tensor GaussianDiffusion::timesteps(const Tensor& step) const {
  std::vector<float> seen;
  for (const std::int64_t s : step.to_vector<std::int64_t>()) seen.push_back(timestep(s));
  return Tensor::from(seen, step.shape(), step.device());
}

Tensor GaussianDiffusion::extract(const std::vector<double>& table, const Tensor& step,
                                  const Tensor& like) const {
  std::vector<double> values;
  for (const std::int64_t s : step.to_vector<std::int64_t>()) {
    TILLER_CHECK(s >= 0 && s < steps(), "step {} is not in [0, {})", s, steps());
    values.push_back(table[static_cast<std::size_t>(s)]);
  }
  if (like.dtype() == DType::f64) return Tensor::from(values, step.shape(), like.device());
  return Tensor::from(std::vector<float>(values.begin(), values.end()), step.shape(),
                      like.device());
}

Var GaussianDiffusion::expand(const std::vector<double>& table, const Tensor& step,
                              const Tensor& like) const {
  return add(fill(like.shape(), like.dtype(), like.device(), 0.0), extract(table, step, like), 1, 1,
             Broadcast::per_sample);
}

Var GaussianDiffusion::q_sample(const Var& x_start, const Tensor& step, const Var& noise) const {
  const Tensor a = extract(coefficients_.sqrt_alphas_cumprod, step, x_start.value());
  const Tensor b = extract(coefficients_.sqrt_one_minus_alphas_cumprod, step, x_start.value());
  return add(mul(x_start, a, Broadcast::per_sample), mul(noise, b, Broadcast::per_sample));
}

Var GaussianDiffusion::q_posterior_mean(const Var& x_start, const Var& x_t,
                                        const Tensor& step) const {
  const Tensor a = extract(coefficients_.posterior_mean_coef1, step, x_t.value());
  const Tensor b = extract(coefficients_.posterior_mean_coef2, step, x_t.value());
  return add(mul(x_start, a, Broadcast::per_sample), mul(x_t, b, Broadcast::per_sample));
}

Var GaussianDiffusion::predict_x_start_from_epsilon(const Var& x_t, const Tensor& step,
                                                    const Var& epsilon) const {
  const Tensor a = extract(coefficients_.sqrt_recip_alphas_cumprod, step, x_t.value());
  const Tensor b = extract(coefficients_.sqrt_recipm1_alphas_cumprod, step, x_t.value());
  return sub(mul(x_t, a, Broadcast::per_sample), mul(epsilon, b, Broadcast::per_sample));
}

Var GaussianDiffusion::predict_x_start_from_previous_x(const Var& x_t, const Tensor& step,
                                                       const Var& previous) const {
  std::vector<double> a, b;  // (x_{t-1} - coef2 x_t) / coef1
  for (std::size_t i = 0; i < coefficients_.betas.size(); ++i) {
    a.push_back(1 / coefficients_.posterior_mean_coef1[i]);
    b.push_back(coefficients_.posterior_mean_coef2[i] / coefficients_.posterior_mean_coef1[i]);
  }
  return sub(mul(previous, extract(a, step, x_t.value()), Broadcast::per_sample),
             mul(x_t, extract(b, step, x_t.value()), Broadcast::per_sample));
}

Var GaussianDiffusion::predict_epsilon_from_x_start(const Var& x_t, const Tensor& step,
                                                    const Var& x_start) const {
  const Tensor a = extract(coefficients_.sqrt_recip_alphas_cumprod, step, x_t.value());
  const Tensor b = extract(coefficients_.sqrt_recipm1_alphas_cumprod, step, x_t.value());
  return div(sub(mul(x_t, a, Broadcast::per_sample), x_start), b, Broadcast::per_sample);
}

Prediction GaussianDiffusion::p_mean_variance(const Var& model_output, const Var& x_t,
                                              const Tensor& step, bool clip,
                                              const DenoisedFn& denoised_fn) const {
  const std::int64_t c = x_t.value().cols();
  const bool learned =
      config_.variance == VarianceType::learned || config_.variance == VarianceType::learned_range;
  const Shape expected = x_t.shape().with(-1, learned ? 2 * c : c);
  TILLER_CHECK(model_output.shape() == expected,
               "the network gave {} for x {}, where {} was expected (--learn_sigma {})",
               to_string(model_output.value()), to_string(x_t.value()), to_string(expected),
               learned ? "True" : "False");
  const Var output = learned ? channels(model_output, 0, c) : model_output;

  Prediction p;
  const Coefficients& k = coefficients_;
  switch (config_.variance) {
    case VarianceType::learned:
      p.log_variance = channels(model_output, c, 2 * c);
      p.variance = exp(p.log_variance);
      break;
    case VarianceType::learned_range: {
      // v in [-1, 1] moves the log variance between the posterior's and beta's (Nichol & Dhariwal
      // 2021, eq. 15).
      const Var frac = affine(channels(model_output, c, 2 * c), 0.5, 0.5);
      std::vector<double> log_betas;
      for (const double beta : k.betas) log_betas.push_back(std::log(beta));
      const Tensor low = extract(k.posterior_log_variance_clipped, step, x_t.value());
      const Tensor high = extract(log_betas, step, x_t.value());
      p.log_variance = add(mul(frac, high, Broadcast::per_sample),
                           mul(affine(frac, -1, 1), low, Broadcast::per_sample));
      p.variance = exp(p.log_variance);
      break;
    }
    case VarianceType::fixed_large: {
      // Betas, with the posterior's second element first: a better likelihood at step 0.
      std::vector<double> variance = k.betas;
      if (variance.size() > 1) variance[0] = k.posterior_variance[1];
      std::vector<double> log_variance;
      for (const double v : variance) log_variance.push_back(std::log(v));
      p.variance = expand(variance, step, x_t.value());
      p.log_variance = expand(log_variance, step, x_t.value());
      break;
    }
    case VarianceType::fixed_small:
      p.variance = expand(k.posterior_variance, step, x_t.value());
      p.log_variance = expand(k.posterior_log_variance_clipped, step, x_t.value());
      break;
  }

  const auto process = [&](Var x_start) {
    if (denoised_fn) x_start = denoised_fn(x_start);
    return clip ? clamp(x_start, -1, 1) : x_start;
  };
  switch (config_.mean) {
    case MeanKind::previous_x:
      p.x_start = process(predict_x_start_from_previous_x(x_t, step, output));
      p.mean = output;
      return p;
    case MeanKind::x_start:
      p.x_start = process(output);
      break;
    case MeanKind::epsilon:
      p.x_start = process(predict_x_start_from_epsilon(x_t, step, output));
      break;
  }
  p.mean = q_posterior_mean(p.x_start, x_t, step);
  return p;
}

Tensor same_step(std::int64_t step, std::int64_t n, Device device) {
  return Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(n), step), {n}, device);
}

}  // namespace tiller
