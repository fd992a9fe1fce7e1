#pragma once
// What the sampler's step reads on the device, for the host and for kernels.
#include <cstdint>

namespace tiller {

enum class MeanKind : std::uint8_t { epsilon, x_start, previous_x };
/// fixed: the coefficient table holds the log variance. learned: the network gives it.
/// learned_range: the network gives v, and log variance = frac * log_max + (1 - frac) * log_min,
/// frac = (v + 1) / 2.
enum class VarianceKind : std::uint8_t { fixed, learned, learned_range };

/// The scalars of one step of the spaced process. One row per step, f32 [steps, kStepScalars].
struct StepScalars {
  float timestep;  ///< what the network sees
  float sqrt_recip_alphas_cumprod;
  float sqrt_recipm1_alphas_cumprod;
  float posterior_mean_coef1;  ///< of x_0
  float posterior_mean_coef2;  ///< of x_t
  float log_variance_min;      ///< fixed: the log variance; learned_range: posterior's
  float log_variance_max;      ///< learned_range: log beta
  float variance;              ///< fixed: the variance that multiplies the gradient (0 is possible)
  float sqrt_one_minus_alphas_cumprod;
  float alphas_cumprod;
  float alphas_cumprod_prev;
  float sigma;                      ///< DDIM: eta-dependent (Song et al. 2020, eq. 16)
  float add_noise;                  ///< 1, or 0 at step 0
  float previous_x_recip_coef1;     ///< 1 / posterior_mean_coef1, for MeanKind::previous_x
  float previous_x_coef2_by_coef1;  ///< posterior_mean_coef2 / posterior_mean_coef1
};
inline constexpr std::int64_t kStepScalars = sizeof(StepScalars) / sizeof(float);

/// Where the loop stands: i64 [4] on the device.
struct StepState {
  std::int64_t step;          ///< index into the spaced process, counts down to 0
  std::int64_t draw;          ///< Philox step: counts up from 1 (0 is the start noise)
  std::int64_t first_sample;  ///< index of entry 0 of the batch over the whole run
  std::int64_t seed;
};

}  // namespace tiller
