#pragma once
// Everything that follows from the betas: the coefficients of q(x_t | x_0) and of the posterior
// q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eqs. 4 and 6-7). All f64, one entry per step.
#include <cstdint>
#include <vector>

namespace tiller {

struct Coefficients {
  explicit Coefficients(std::vector<double> betas);  ///< throws Error unless all lie in (0, 1]

  std::int64_t steps() const { return static_cast<std::int64_t>(betas.size()); }

  std::vector<double> betas;
  std::vector<double> alphas_cumprod;       ///< abar_t = prod (1 - beta)
  std::vector<double> alphas_cumprod_prev;  ///< abar_{t-1}, 1 at t = 0
  std::vector<double> alphas_cumprod_next;  ///< abar_{t+1}, 0 at the last step
  std::vector<double> sqrt_alphas_cumprod;
  std::vector<double> sqrt_one_minus_alphas_cumprod;
  std::vector<double> log_one_minus_alphas_cumprod;
  std::vector<double> sqrt_recip_alphas_cumprod;
  std::vector<double> sqrt_recipm1_alphas_cumprod;
  std::vector<double> posterior_variance;  ///< beta~_t, eq. 7; 0 at t = 0
  /// Its logarithm, with element 1 standing in for element 0, whose logarithm is not finite. A
  /// process of a single step has no element 1: beta_0 stands in.
  std::vector<double> posterior_log_variance_clipped;
  std::vector<double> posterior_mean_coef1;  ///< of x_0
  std::vector<double> posterior_mean_coef2;  ///< of x_t
};

}  // namespace tiller
