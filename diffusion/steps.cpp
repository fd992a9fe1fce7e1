// The samplers' steps, as the papers write them.
#include <algorithm>
#include <cmath>

#include "diffusion/guidance.h"
#include "diffusion/sampler.h"

namespace tiller {

namespace {

struct DdimScalars {
  double sqrt_abar_prev, direction, sigma;
};

// Of the alphas in T, the dtype of the pictures, because PyTorch gathers them so. The root is taken
// in f64: with eta = 1 and a coarse schedule its argument is a difference of nearly equal numbers,
// which in f32 can come out negative.
template <class T>
DdimScalars ddim_scalars(double alphas_cumprod, double alphas_cumprod_prev, double eta) {
  const T abar = static_cast<T>(alphas_cumprod);
  const T prev = static_cast<T>(alphas_cumprod_prev);
  const T sigma =
      static_cast<T>(eta) * std::sqrt((1 - prev) / (1 - abar)) * std::sqrt(1 - abar / prev);
  const double direction = 1 - static_cast<double>(prev) - static_cast<double>(sigma) * sigma;
  return {static_cast<T>(std::sqrt(static_cast<double>(prev))),
          static_cast<T>(std::sqrt(std::max(0.0, direction))), sigma};
}

DdimScalars ddim_scalars(const Coefficients& k, std::int64_t step, double eta, DType dtype) {
  const auto i = static_cast<std::size_t>(step);
  return dtype == DType::f64
             ? ddim_scalars<double>(k.alphas_cumprod[i], k.alphas_cumprod_prev[i], eta)
             : ddim_scalars<float>(k.alphas_cumprod[i], k.alphas_cumprod_prev[i], eta);
}

const Tensor& need_noise(const Tensor& noise, const Tensor& x_t) {
  TILLER_CHECK(noise.defined() && noise.shape() == x_t.shape(),
               "the step's noise is {} where x_t is {}", to_string(noise), to_string(x_t));
  return noise;
}

}  // namespace

StepOutput ddpm_step(const GaussianDiffusion& diffusion, const Tensor& model_output,
                     const Tensor& x_t, std::int64_t step, const Tensor& gradient,
                     const Tensor& noise, const SampleOptions& options) {
  const NoGrad no_recording;
  const Tensor steps = same_step(step, x_t.dim(0), x_t.device());
  Prediction p =
      diffusion.p_mean_variance(model_output, x_t, steps, options.clip, options.denoised_fn);
  if (gradient) p = condition_mean(p, gradient);
  const Var x_prev =
      step == 0 ? p.mean
                : add(p.mean, mul(exp(affine(p.log_variance, 0.5, 0)), need_noise(noise, x_t)));
  return {step, x_prev.value(), p.x_start.value(), gradient};
}

StepOutput ddim_step(const GaussianDiffusion& diffusion, const Tensor& model_output,
                     const Tensor& x_t, std::int64_t step, const Tensor& gradient,
                     const Tensor& noise, const SampleOptions& options) {
  const NoGrad no_recording;
  const Tensor steps = same_step(step, x_t.dim(0), x_t.device());
  Prediction p =
      diffusion.p_mean_variance(model_output, x_t, steps, options.clip, options.denoised_fn);
  if (gradient) p = condition_score(diffusion, p, x_t, steps, gradient);
  const Var epsilon = diffusion.predict_epsilon_from_x_start(x_t, steps, p.x_start);
  const DdimScalars s = ddim_scalars(diffusion.coefficients(), step, options.eta, x_t.dtype());
  const Var mean = add(p.x_start, epsilon, s.sqrt_abar_prev, s.direction);
  const Var x_prev =
      step == 0 || s.sigma == 0 ? mean : add(mean, need_noise(noise, x_t), 1, s.sigma);
  return {step, x_prev.value(), p.x_start.value(), gradient};
}

StepOutput ddim_reverse_step(const GaussianDiffusion& diffusion, const Tensor& model_output,
                             const Tensor& x_t, std::int64_t step, const SampleOptions& options) {
  TILLER_CHECK(options.eta == 0, "only DDIM with eta 0 can be run backwards, not eta {}",
               options.eta);
  const NoGrad no_recording;
  const Tensor steps = same_step(step, x_t.dim(0), x_t.device());
  const Prediction p =
      diffusion.p_mean_variance(model_output, x_t, steps, options.clip, options.denoised_fn);
  const Var epsilon = diffusion.predict_epsilon_from_x_start(x_t, steps, p.x_start);
  const double next = diffusion.coefficients().alphas_cumprod_next[static_cast<std::size_t>(step)];
  const Var x_next = add(p.x_start, epsilon, std::sqrt(next), std::sqrt(1 - next));
  return {step, x_next.value(), p.x_start.value(), {}};
}

Tensor step_table(const GaussianDiffusion& diffusion, double eta) {
  const Coefficients& k = diffusion.coefficients();
  const auto n = static_cast<std::size_t>(diffusion.steps());
  std::vector<float> table;
  table.reserve(n * static_cast<std::size_t>(kStepScalars));
  for (std::size_t i = 0; i < n; ++i) {
    double variance = k.posterior_variance[i];
    double log_variance = k.posterior_log_variance_clipped[i];
    if (diffusion.config().variance == VarianceType::fixed_large) {
      variance = i == 0 && n > 1 ? k.posterior_variance[1] : k.betas[i];
      log_variance = std::log(variance);
    }
    const auto f = [](double x) { return static_cast<float>(x); };
    const auto step = static_cast<std::int64_t>(i);
    const StepScalars row{
        .timestep = diffusion.timestep(step),
        .sqrt_recip_alphas_cumprod = f(k.sqrt_recip_alphas_cumprod[i]),
        .sqrt_recipm1_alphas_cumprod = f(k.sqrt_recipm1_alphas_cumprod[i]),
        .posterior_mean_coef1 = f(k.posterior_mean_coef1[i]),
        .posterior_mean_coef2 = f(k.posterior_mean_coef2[i]),
        .log_variance_min = f(log_variance),
        .log_variance_max = f(std::log(k.betas[i])),
        .variance = f(variance),
        .sqrt_one_minus_alphas_cumprod = f(k.sqrt_one_minus_alphas_cumprod[i]),
        .alphas_cumprod = f(k.alphas_cumprod[i]),
        .alphas_cumprod_prev = f(k.alphas_cumprod_prev[i]),
        .sigma = f(ddim_scalars(k, step, eta, DType::f32).sigma),
        .add_noise = i == 0 ? 0.0f : 1.0f,
        .previous_x_recip_coef1 = f(1 / k.posterior_mean_coef1[i]),
        .previous_x_coef2_by_coef1 = f(k.posterior_mean_coef2[i] / k.posterior_mean_coef1[i]),
    };
    const auto* scalars = reinterpret_cast<const float*>(&row);
    table.insert(table.end(), scalars, scalars + kStepScalars);
  }
  return Tensor::from(table, {static_cast<std::int64_t>(n), kStepScalars});
}

}  // namespace tiller
