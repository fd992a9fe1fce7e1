#pragma once
// What training minimises and what likelihood reports.
#include <cmath>
#include <optional>

#include "diffusion/gaussian_diffusion.h"

namespace tiller {

/// KL(N(mean1, exp(log_variance1)) || N(mean2, exp(log_variance2))) per element, in nats.
Var normal_kl(const Var& mean1, const Var& log_variance1, const Var& mean2,
              const Var& log_variance2);

/// log of the probability that a Gaussian gives to the bin of width 2/255 around x, x in [-1, 1]
/// from 8-bit pictures; open bins beyond +-0.999. The normal CDF is the tanh approximation that
/// PyTorch's code uses; probabilities are clamped at 1e-12. Per element, in nats (Ho et al. 2020,
/// eq. 13).
Var discretized_gaussian_log_likelihood(const Var& x, const Var& mean, const Var& log_scale);

/// The variational bound's terms at one step, in bits per dimension [N], and the x_0 it predicted.
struct BoundTerm {
  Var bits;     // [N]
  Var x_start;  // [N,H,W,C]
};
BoundTerm variational_bound_term(const GaussianDiffusion& diffusion, const Var& model_output,
                                 const Var& x_start, const Var& x_t, const Tensor& step, bool clip);

/// How much the steps count: a step's squared error of x_0 weighs as much as its signal-to-noise
/// ratio abar / (1 - abar), clamped. {0, 5} is min-SNR-5 (Hang et al. 2023), {1, INFINITY} truncated
/// SNR (Salimans & Ho 2022), {0, INFINITY} what a network that predicts the noise minimises anyway.
struct SnrClamp {
  double low = 0, high = INFINITY;
};
/// The weights [N] of `mse` at `step`, in the dtype of `like`: of an error of the noise, the clamped
/// ratio over the ratio. Throws Error(usage) for networks that predict the previous x.
Tensor snr_weights(const GaussianDiffusion& diffusion, const Tensor& step, const SnrClamp& clamp,
                   const Tensor& like);

/// Per-sample losses [N]; mse and vb are undefined where the loss type has none.
struct TrainingLosses {
  Var loss, mse, vb;
};
/// Losses at `step` [N] i64 with the given noise (Nichol & Dhariwal 2021, section 3.1: with a
/// learned variance the bound trains the variance alone, the mean being detached). With `weighting`
/// mse enters loss by snr_weights(); the bound as a loss has its own weights and throws Error(usage).
TrainingLosses training_losses(const GaussianDiffusion& diffusion, const Model& model,
                               const Var& x_start, const Tensor& step, const Tensor& noise,
                               const std::optional<SnrClamp>& weighting = {});

/// Bits per dimension of pictures, with one column per step from T-1 down to 0.
struct BitsPerDimension {
  Tensor total;        // [N]: sum of vb and prior
  Tensor prior;        // [N]
  Tensor vb;           // [N,T]
  Tensor x_start_mse;  // [N,T]
  Tensor mse;          // [N,T]: of the noise against eps re-derived from the predicted x_0
};
/// `noise`(draw, shape) is called once per step, in the columns' order, from draw 0.
BitsPerDimension bits_per_dimension(const GaussianDiffusion& diffusion, const Model& model,
                                    const Tensor& x_start, bool clip,
                                    const std::function<Tensor(std::int64_t, const Shape&)>& noise);

}  // namespace tiller
