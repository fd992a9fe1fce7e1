#pragma once
// How a classifier's gradient enters a step (Dhariwal & Nichol 2021, section 4). The gradient is
// that of scale * log p(y | x_t) with respect to x_t.
#include "diffusion/gaussian_diffusion.h"

namespace tiller {

/// Algorithm 1 (DDPM): the mean moves by variance * gradient; x_start is left as it was.
Prediction condition_mean(const Prediction& p, const Tensor& gradient);

/// Algorithm 2 (DDIM): the score moves. eps is re-derived from the (clamped) x_0, eps' = eps -
/// sqrt(1 - abar) gradient, and x_0' follows from eps'; it is not clamped again.
Prediction condition_score(const GaussianDiffusion& diffusion, const Prediction& p, const Var& x_t,
                           const Tensor& step, const Tensor& gradient);

/// scale * gradient(x_t, timestep): a guide from the gradient of log p(y | x_t). No guide at all for
/// scale 0, so that such a run equals an unguided one bit for bit and costs no classifier.
Guide scaled(Guide gradient, double scale);

}  // namespace tiller
