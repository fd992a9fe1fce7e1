#include "diffusion/coefficients.h"

#include <cmath>

#include "runtime/error.h"

namespace tiller {

Coefficients::Coefficients(std::vector<double> b) : betas(std::move(b)) {
  TILLER_CHECK(!betas.empty(), "a diffusion process needs at least one step");
  const std::size_t n = betas.size();
  double cumulative = 1;
  for (std::size_t t = 0; t < n; ++t) {
    TILLER_CHECK(betas[t] > 0 && betas[t] <= 1, "beta[{}] = {} is not in (0, 1]", t, betas[t]);
    alphas_cumprod_prev.push_back(cumulative);
    cumulative *= 1 - betas[t];
    alphas_cumprod.push_back(cumulative);
  }
  for (std::size_t t = 0; t < n; ++t) {
    const double abar = alphas_cumprod[t];
    const double prev = alphas_cumprod_prev[t];
    alphas_cumprod_next.push_back(t + 1 < n ? alphas_cumprod[t + 1] : 0);
    sqrt_alphas_cumprod.push_back(std::sqrt(abar));
    sqrt_one_minus_alphas_cumprod.push_back(std::sqrt(1 - abar));
    log_one_minus_alphas_cumprod.push_back(std::log(1 - abar));
    sqrt_recip_alphas_cumprod.push_back(std::sqrt(1 / abar));
    sqrt_recipm1_alphas_cumprod.push_back(std::sqrt(1 / abar - 1));
    posterior_variance.push_back(betas[t] * (1 - prev) / (1 - abar));
    posterior_mean_coef1.push_back(betas[t] * std::sqrt(prev) / (1 - abar));
    posterior_mean_coef2.push_back((1 - prev) * std::sqrt(1 - betas[t]) / (1 - abar));
  }
  for (std::size_t t = 0; t < n; ++t) {
    const double variance = t > 0   ? posterior_variance[t]
                            : n > 1 ? posterior_variance[1]
                                    : betas[0];
    posterior_log_variance_clipped.push_back(std::log(variance));
  }
}

}  // namespace tiller
