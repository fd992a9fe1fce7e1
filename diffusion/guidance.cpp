#include "diffusion/guidance.h"

namespace tiller {

Prediction condition_mean(const Prediction& p, const Tensor& gradient) {
  Prediction guided = p;
  guided.mean = add(p.mean, mul(p.variance, gradient));
  return guided;
}

Prediction condition_score(const GaussianDiffusion& diffusion, const Prediction& p, const Var& x_t,
                           const Tensor& step, const Tensor& gradient) {
  const Tensor sigma =
      diffusion.extract(diffusion.coefficients().sqrt_one_minus_alphas_cumprod, step, x_t.value());
  const Var epsilon = sub(diffusion.predict_epsilon_from_x_start(x_t, step, p.x_start),
                          mul(gradient, sigma, Broadcast::per_sample));
  Prediction guided = p;
  guided.x_start = diffusion.predict_x_start_from_epsilon(x_t, step, epsilon);
  guided.mean = diffusion.q_posterior_mean(guided.x_start, x_t, step);
  return guided;
}

Guide scaled(Guide gradient, double scale) {
  if (scale == 0) return {};
  return [gradient = std::move(gradient), scale](const Tensor& x_t, const Tensor& timestep) {
    return affine(gradient(x_t, timestep), scale, 0).value();
  };
}

}  // namespace tiller
