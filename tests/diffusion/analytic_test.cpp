// Samplers with the exact eps of Gaussian data, for which everything is known.
//
// For data N(mu, s^2) the marginal of x_t is N(sqrt(abar) mu, abar s^2 + 1 - abar), and
// E[x_0 | x_t] = mu + sqrt(abar) s^2 / (abar s^2 + 1 - abar) (x_t - sqrt(abar) mu). Every step is then
// affine in x_t and in its noise, so that a whole run is read off a few runs with unit inputs: one
// with zeros gives the mean, one with x_T = 1 and one per step with that step's noise = 1 give the
// coefficients, whose squares add up to the variance. Nothing is drawn, nothing is estimated.
#include "diffusion/guidance.h"
#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

struct Gaussian {
  double mean, variance;
};

struct Posterior {
  double slope, offset;  // E[x_0 | x_t] = slope x_t + offset
  double variance;       // of x_0 given x_t
};

Posterior posterior(const Gaussian& data, double abar) {
  const double marginal = abar * data.variance + 1 - abar;
  const double slope = std::sqrt(abar) * data.variance / marginal;
  return {slope, data.mean * (1 - slope * std::sqrt(abar)), data.variance * (1 - abar) / marginal};
}

/// How wide the reverse step's Gaussian is, for models that give it (VarianceType::learned).
using LogVariance = std::function<double(std::size_t step)>;

// The exact eps, and the log variance behind it where one is given.
Model exact_model(const GaussianDiffusion& diffusion, const Gaussian& data,
                  const LogVariance& log_variance = {}) {
  return [&diffusion, data, log_variance](const Var& x_t, const Tensor& timestep) {
    const std::size_t step = step_of(diffusion, timestep);
    const double abar = diffusion.coefficients().alphas_cumprod[step];
    const Posterior p = posterior(data, abar);
    const Var x_start = affine(x_t, p.slope, p.offset);
    const Var eps =
        affine(sub(x_t, affine(x_start, std::sqrt(abar), 0)), 1 / std::sqrt(1 - abar), 0);
    if (!log_variance) return eps;
    return concat(eps, fill(x_t.shape(), x_t.dtype(), kCpu, log_variance(step)));
  };
}

// p(y | x_0) proportional to exp(-(x_0 - c)^2 / (2 r^2)): then p(y | x_t) is a Gaussian of c around
// E[x_0 | x_t], and p(x_0 | y) is Gaussian again.
struct Likelihood {
  double centre, variance;
};

Gaussian condition(const Gaussian& data, const Likelihood& y) {
  const double precision = 1 / data.variance + 1 / y.variance;
  return {(data.mean / data.variance + y.centre / y.variance) / precision, 1 / precision};
}

Guide exact_guide(const GaussianDiffusion& diffusion, const Gaussian& data, const Likelihood& y) {
  return [&diffusion, data, y](const Tensor& x_t, const Tensor& timestep) {
    const double abar = diffusion.coefficients().alphas_cumprod[step_of(diffusion, timestep)];
    const Posterior p = posterior(data, abar);
    // d/dx_t of -(c - E[x_0 | x_t])^2 / (2 (Var[x_0 | x_t] + r^2))
    const double scale = p.slope / (p.variance + y.variance);
    return affine(x_t, -scale * p.slope, scale * (y.centre - p.offset)).value();
  };
}

// Mean and variance of what a sampler gives, x_T being drawn from `start`.
Gaussian moments(const GaussianDiffusion& diffusion, const Model& model, const Guide& guide,
                 const SampleOptions& options, const Gaussian& start) {
  const std::int64_t steps = diffusion.steps(), n = steps + 2;
  const Shape shape{n, 1, 1, 1};
  const auto unit = [&](std::int64_t at) {
    std::vector<double> values(static_cast<std::size_t>(n));
    if (at >= 0) values[static_cast<std::size_t>(at)] = 1;
    return Tensor::from(values, shape);
  };
  SampleOptions exact = options;
  exact.clip = false;
  exact.fused = false;  // f64 throughout; the fused step keeps its coefficients in f32
  const NoiseSource noise = [&](std::int64_t draw, const Shape&) { return unit(draw + 1); };
  Sampler sampler(diffusion, model, guide, exact, shape, noise, unit(1));
  while (!sampler.done()) sampler.next();
  const std::vector<double> out = sampler.sample().to_vector<double>();
  const double slope = out[1] - out[0];
  Gaussian result{out[0] + slope * start.mean, slope * slope * start.variance};
  for (std::size_t i = 2; i < out.size(); ++i)
    result.variance += (out[i] - out[0]) * (out[i] - out[0]);
  return result;
}

Gaussian marginal(const Gaussian& data, double abar) {
  return {std::sqrt(abar) * data.mean, abar * data.variance + 1 - abar};
}

Gaussian last_marginal(const GaussianDiffusion& diffusion, const Gaussian& data) {
  return marginal(data, diffusion.coefficients().alphas_cumprod.back());
}

void expect_equal(const Gaussian& a, const Gaussian& b, double tolerance) {
  EXPECT_NEAR(a.mean, b.mean, tolerance);
  EXPECT_NEAR(a.variance, b.variance, tolerance);
}

// The exact reverse step of Gaussian data: var(x_{t-1} | x_t) = beta~ + coef1^2 Var(x_0 | x_t).
LogVariance exact_log_variance(const GaussianDiffusion& diffusion, const Gaussian& data) {
  return [&diffusion, data](std::size_t t) {
    const Coefficients& k = diffusion.coefficients();
    const double c = k.posterior_mean_coef1[t];
    return std::log(k.posterior_variance[t] +
                    c * c * posterior(data, k.alphas_cumprod[t]).variance);
  };
}

constexpr Gaussian kData{0.3, 0.49};
constexpr Likelihood kClass{-0.8, 0.25};

TEST(AnalyticDdpm, WithTheExactVarianceIsExactAtAnyStepCount) {
  for (const char* respacing : {"200", "50", "7", "1"}) {
    SCOPED_TRACE(respacing);
    const GaussianDiffusion d = process(1000, "linear", respacing, VarianceType::learned);
    const Gaussian got = moments(d, exact_model(d, kData, exact_log_variance(d, kData)), {}, {},
                                 last_marginal(d, kData));
    // Step 0 adds no noise: it gives E[x_0 | x_1], which varies by what x_1 tells of x_0.
    const double abar = d.coefficients().alphas_cumprod[0];
    const double unknown = posterior(kData, abar).variance;
    expect_equal(got, {kData.mean, kData.variance - unknown}, 1e-9);
  }
}

// One step of mean and variance by hand, from the papers' formulas alone.
struct Affine {
  double slope, offset, noise;
};
Gaussian push(const Gaussian& x, const Affine& a) {
  return {a.slope * x.mean + a.offset, a.slope * a.slope * x.variance + a.noise * a.noise};
}

TEST(AnalyticDdpm, FixedVariancesFollowTheRecursion) {
  for (const VarianceType variance : {VarianceType::fixed_small, VarianceType::fixed_large}) {
    const GaussianDiffusion d = process(1000, "cosine", "40", variance);
    const Coefficients& k = d.coefficients();
    Gaussian x{0, 1};
    for (std::size_t t = k.betas.size(); t-- > 0;) {
      const Posterior p = posterior(kData, k.alphas_cumprod[t]);
      const double c0 =
          k.betas[t] * std::sqrt(k.alphas_cumprod_prev[t]) / (1 - k.alphas_cumprod[t]);
      const double ct =
          (1 - k.alphas_cumprod_prev[t]) * std::sqrt(1 - k.betas[t]) / (1 - k.alphas_cumprod[t]);
      const double beta_tilde =
          k.betas[t] * (1 - k.alphas_cumprod_prev[t]) / (1 - k.alphas_cumprod[t]);
      const double var = variance == VarianceType::fixed_small ? beta_tilde : k.betas[t];
      x = push(x, {c0 * p.slope + ct, c0 * p.offset, t == 0 ? 0 : std::sqrt(var)});
    }
    expect_equal(moments(d, exact_model(d, kData), {}, {}, {0, 1}), x, 1e-9);
  }
}

TEST(AnalyticDdim, EveryEtaFollowsTheRecursion) {
  for (const double eta : {0.0, 0.5, 1.0}) {
    SCOPED_TRACE(eta);
    const GaussianDiffusion d = process(1000, "linear", "ddim25", VarianceType::fixed_small);
    const Coefficients& k = d.coefficients();
    Gaussian x{0, 1};
    for (std::size_t t = k.betas.size(); t-- > 0;) {
      const double abar = k.alphas_cumprod[t], prev = k.alphas_cumprod_prev[t];
      const Posterior p = posterior(kData, abar);
      const double sigma = eta * std::sqrt((1 - prev) / (1 - abar)) * std::sqrt(1 - abar / prev);
      const double towards = std::sqrt(1 - prev - sigma * sigma) / std::sqrt(1 - abar);  // of eps
      x = push(x, {std::sqrt(prev) * p.slope + towards * (1 - std::sqrt(abar) * p.slope),
                   (std::sqrt(prev) - towards * std::sqrt(abar)) * p.offset, sigma});
    }
    expect_equal(moments(d, exact_model(d, kData), {}, {.ddim = true, .eta = eta}, {0, 1}), x,
                 1e-9);
  }
}

TEST(AnalyticDdim, EtaOneIsDdpmWithTheSmallVariance) {
  const GaussianDiffusion d = process(1000, "linear", "30", VarianceType::fixed_small);
  const Model model = exact_model(d, kData);
  expect_equal(moments(d, model, {}, {.ddim = true, .eta = 1}, {0, 1}),
               moments(d, model, {}, {}, {0, 1}), 1e-9);
}

// The recursions above are exact for their own steps; these come near the data's moments with 1/T.
TEST(Analytic, ManyStepsComeNearTheDatasMoments) {
  const auto error = [](std::int64_t steps, const SampleOptions& options) {
    const GaussianDiffusion d = process(steps, "linear", "", VarianceType::fixed_large);
    const Gaussian got = moments(d, exact_model(d, kData), {}, options, {0, 1});
    return std::max(std::abs(got.mean - kData.mean), std::abs(got.variance - kData.variance));
  };
  for (const SampleOptions& options :
       {SampleOptions{}, SampleOptions{.ddim = true}, SampleOptions{.ddim = true, .eta = 0.5},
        SampleOptions{.ddim = true, .eta = 1}}) {
    const double coarse = error(100, options), fine = error(200, options);
    EXPECT_LT(fine, 0.03) << "ddim " << options.ddim << " eta " << options.eta;
    EXPECT_LT(fine, 0.6 * coarse) << "ddim " << options.ddim << " eta " << options.eta;
  }
}

// Algorithm 2 with an exact classifier is, step by step, the unguided sampler of p(x_0 | y).
TEST(AnalyticGuidance, DdimSamplesTheConditional) {
  const Gaussian conditional = condition(kData, kClass);
  for (const double eta : {0.0, 0.5, 1.0}) {
    const GaussianDiffusion d = process(1000, "linear", "20", VarianceType::fixed_small);
    const SampleOptions options{.ddim = true, .eta = eta};
    expect_equal(moments(d, exact_model(d, kData), exact_guide(d, kData, kClass), options, {0, 1}),
                 moments(d, exact_model(d, conditional), {}, options, {0, 1}), 1e-9);
  }
  const GaussianDiffusion d = process(200, "linear", "", VarianceType::fixed_small);
  expect_equal(
      moments(d, exact_model(d, kData), exact_guide(d, kData, kClass), {.ddim = true}, {0, 1}),
      conditional, 1e-2);
}

// Algorithm 1 moves the mean by Sigma * gradient, where the conditional's mean lies beta / sqrt(1 -
// beta) * gradient away (Tweedie's formula for both means): exact for that Sigma.
TEST(AnalyticGuidance, DdpmSamplesTheConditional) {
  const Gaussian conditional = condition(kData, kClass);
  const GaussianDiffusion d = process(1000, "linear", "20", VarianceType::learned);
  const LogVariance shift = [&](std::size_t t) {
    const double beta = d.coefficients().betas[t];
    return std::log(beta / std::sqrt(1 - beta));
  };
  expect_equal(moments(d, exact_model(d, kData, shift), exact_guide(d, kData, kClass), {}, {0, 1}),
               moments(d, exact_model(d, conditional, shift), {}, {}, {0, 1}), 1e-9);

  const GaussianDiffusion all = process(200, "linear", "", VarianceType::fixed_large);
  expect_equal(moments(all, exact_model(all, kData), exact_guide(all, kData, kClass), {}, {0, 1}),
               conditional, 1e-2);
}

// A scale s guides towards p(y | x)^s: for these Gaussians as a likelihood s times as sharp.
TEST(AnalyticGuidance, TheScaleSharpensTheClass) {
  const GaussianDiffusion d = process(200, "linear", "", VarianceType::fixed_large);
  const Guide guide = exact_guide(d, kData, kClass);
  const Gaussian once = moments(d, exact_model(d, kData), guide, {}, {0, 1});
  const Gaussian more = moments(d, exact_model(d, kData), scaled(guide, 4), {}, {0, 1});
  EXPECT_LT(more.mean, once.mean);  // nearer to the class's centre at -0.8
  EXPECT_LT(more.variance, once.variance);
}

TEST(AnalyticReverse, DdimBackwardsAndForwardsComesHome) {
  double previous = INFINITY;
  for (const char* respacing : {"ddim25", "ddim100", ""}) {
    const GaussianDiffusion d = process(1000, "linear", respacing, VarianceType::fixed_small);
    const Model model = exact_model(d, kData);
    const SampleOptions options{.ddim = true, .clip = false, .fused = false};
    const Tensor picture = Tensor::from(std::vector<double>{-1, -0.2, 0.3, 0.9}, {4, 1, 1, 1});
    Tensor x = picture;
    for (std::int64_t step = 0; step < d.steps(); ++step) {
      const Tensor seen = d.timesteps(same_step(step, 4));
      x = ddim_reverse_step(d, model(x, seen).value(), x, step, options).sample;
    }
    // Encoded, the data's distribution is standard normal.
    EXPECT_NEAR(doubles(x)[2], 0, 0.05);
    Sampler sampler(
        d, model, {}, options, picture.shape(),
        [](std::int64_t, const Shape& s) { return Tensor::zeros(s, DType::f64); }, x);
    while (!sampler.done()) sampler.next();
    const double error = largest_difference(sampler.sample(), picture);
    EXPECT_LT(error, 0.5 * previous) << respacing;
    previous = error;
  }
  EXPECT_LT(previous, 0.02);
}

}  // namespace
}  // namespace tiller
