#pragma once
// The diffusion process: q forwards, p backwards. Knows no network, only callables. Written in
// tensor operations that read like the papers; this is the definition against which the fused step
// is tested.
//
// `step` indexes the (possibly respaced) process, 0 .. steps()-1; `timestep` is what networks see.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "autograd/ops.h"
#include "diffusion/coefficients.h"
#include "kernels/sampler_step/sampler_step.h"

namespace tiller {

/// What the network's variance channels mean, or which fixed variance is used (guided-diffusion's
/// ModelVarType).
enum class VarianceType : std::uint8_t { learned, fixed_small, fixed_large, learned_range };

/// guided-diffusion's LossType.
enum class LossType : std::uint8_t { mse, rescaled_mse, kl, rescaled_kl };

/// Everything that defines a process, by guided-diffusion's flags.
struct DiffusionConfig {
  std::int64_t diffusion_steps = 1000;
  std::string noise_schedule = "linear";
  std::string timestep_respacing;  ///< "" for all steps
  MeanKind mean = MeanKind::epsilon;
  VarianceType variance = VarianceType::learned_range;
  LossType loss = LossType::mse;
  bool rescale_timesteps = false;  ///< networks see timestep * 1000 / diffusion_steps
};

/// The configuration of create_gaussian_diffusion()'s flags. use_kl takes precedence over
/// rescale_learned_sigmas; sigma_small means FIXED_SMALL, else FIXED_LARGE, unless learn_sigma.
DiffusionConfig diffusion_config(std::int64_t diffusion_steps, const std::string& noise_schedule,
                                 const std::string& timestep_respacing, bool learn_sigma,
                                 bool sigma_small, bool use_kl, bool predict_xstart,
                                 bool rescale_timesteps, bool rescale_learned_sigmas);

/// A network: x_t [N,H,W,C] and timesteps [N] f32 -> [N,H,W,C], or [N,H,W,2C] with a learned
/// variance.
using Model = std::function<Var(const Var& x_t, const Tensor& timestep)>;

/// A guide: x_t and timesteps -> scale * d log p(y | x_t) / d x_t, [N,H,W,C].
using Guide = std::function<Tensor(const Tensor& x_t, const Tensor& timestep)>;

/// Something done to the predicted x_0 before it is clamped.
using DenoisedFn = std::function<Var(const Var& x_start)>;

/// p(x_{t-1} | x_t), and the x_0 that it was made from.
struct Prediction {
  Var mean, variance, log_variance, x_start;  // [N,H,W,C] each
};

class GaussianDiffusion {
 public:
  explicit GaussianDiffusion(const DiffusionConfig& config);

  const DiffusionConfig& config() const { return config_; }
  const Coefficients& coefficients() const { return coefficients_; }
  std::int64_t steps() const { return coefficients_.steps(); }
  /// The original step of each step of the spaced process.
  const std::vector<std::int64_t>& kept() const { return kept_; }
  /// What a network sees at each of `step` [N] i64: f32 [N].
  Tensor timesteps(const Tensor& step) const;
  float timestep(std::int64_t step) const;

  /// x_t = sqrt(abar) x_0 + sqrt(1 - abar) noise (Ho et al. 2020, eq. 4). step [N] i64.
  Var q_sample(const Var& x_start, const Tensor& step, const Var& noise) const;
  /// Mean of q(x_{t-1} | x_t, x_0) (eq. 7); its variance is posterior_variance.
  Var q_posterior_mean(const Var& x_start, const Var& x_t, const Tensor& step) const;

  Var predict_x_start_from_epsilon(const Var& x_t, const Tensor& step, const Var& epsilon) const;
  Var predict_x_start_from_previous_x(const Var& x_t, const Tensor& step,
                                      const Var& previous) const;
  Var predict_epsilon_from_x_start(const Var& x_t, const Tensor& step, const Var& x_start) const;

  /// p(x_{t-1} | x_t) from the network's output at x_t. The x_0 goes through denoised_fn, then is
  /// clamped to [-1, 1] when `clip`.
  Prediction p_mean_variance(const Var& model_output, const Var& x_t, const Tensor& step, bool clip,
                             const DenoisedFn& denoised_fn = {}) const;

  /// Coefficient `table`[step[n]] per sample, in the dtype of `like`: [N].
  Tensor extract(const std::vector<double>& table, const Tensor& step, const Tensor& like) const;

 private:
  Var expand(const std::vector<double>& table, const Tensor& step, const Tensor& like) const;
  DiffusionConfig config_;
  std::vector<std::int64_t> kept_;
  Coefficients coefficients_;
};

/// step, repeated for a batch of n: i64 [n] on a device.
Tensor same_step(std::int64_t step, std::int64_t n, Device device = kCpu);

}  // namespace tiller
