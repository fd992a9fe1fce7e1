// q, its posterior, p, and how a gradient enters: identities and values by hand, in f64.
#include <cmath>

#include "diffusion/guidance.h"
#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

const Shape kShape{3, 2, 2, 2};

// One sample per step: the first, a middle and the last.
Tensor steps_of(const GaussianDiffusion& d) {
  return Tensor::from(std::vector<std::int64_t>{0, d.steps() / 2, d.steps() - 1}, {3});
}

// Element i's own coefficient.
double at(const std::vector<double>& table, const Tensor& step, std::size_t i) {
  return table[static_cast<std::size_t>(step.to_vector<std::int64_t>()[i / 8])];
}

GaussianDiffusion any_process(VarianceType variance = VarianceType::fixed_small,
                              MeanKind mean = MeanKind::epsilon) {
  return process(1000, "cosine", "25", variance, mean);
}

TEST(Process, QSampleMixesByTheSchedule) {
  const GaussianDiffusion d = any_process();
  const Tensor step = steps_of(d), x0 = f64(noise_of(kShape, 1)), e = f64(noise_of(kShape, 2));
  const std::vector<double> x = doubles(d.q_sample(x0, step, e).value());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double abar = at(d.coefficients().alphas_cumprod, step, i);
    EXPECT_NEAR(x[i], std::sqrt(abar) * doubles(x0)[i] + std::sqrt(1 - abar) * doubles(e)[i],
                1e-12);
  }
}

// Bayes: q(x_{t-1} | x_t, x_0) is q(x_t | x_{t-1}) q(x_{t-1} | x_0), two Gaussians in x_{t-1}.
TEST(Process, ThePosteriorIsBayes) {
  const GaussianDiffusion d = any_process();
  const Coefficients& k = d.coefficients();
  const Tensor x0 = f64(noise_of(kShape, 1)), x_t = f64(noise_of(kShape, 2));
  for (std::int64_t s = 1; s < d.steps(); ++s) {
    const auto t = static_cast<std::size_t>(s);
    const double alpha = 1 - k.betas[t], prev = k.alphas_cumprod_prev[t];
    const double precision = alpha / k.betas[t] + 1 / (1 - prev);
    EXPECT_NEAR(k.posterior_variance[t] * precision, 1, 1e-9);
    EXPECT_NEAR(k.posterior_log_variance_clipped[t], -std::log(precision), 1e-9);
    const std::vector<double> mean = doubles(d.q_posterior_mean(x0, x_t, same_step(s, 3)).value());
    for (std::size_t i = 0; i < mean.size(); ++i)
      EXPECT_NEAR(mean[i],
                  (std::sqrt(alpha) / k.betas[t] * doubles(x_t)[i] +
                   std::sqrt(prev) / (1 - prev) * doubles(x0)[i]) /
                      precision,
                  1e-9);
  }
}

TEST(Process, PredictionsAreInverses) {
  const GaussianDiffusion d = any_process();
  const Tensor step = steps_of(d), x0 = f64(noise_of(kShape, 1)), e = f64(noise_of(kShape, 2));
  const Var x_t = d.q_sample(x0, step, e);
  // Where alpha_bar is 2e-9 a factor of 2e4 stands before the rounding.
  EXPECT_LT(largest_difference(d.predict_x_start_from_epsilon(x_t, step, e).value(), x0), 1e-9);
  EXPECT_LT(largest_difference(d.predict_epsilon_from_x_start(x_t, step, x0).value(), e), 1e-9);
  const Var previous = d.q_posterior_mean(x0, x_t, step);
  EXPECT_LT(largest_difference(d.predict_x_start_from_previous_x(x_t, step, previous).value(), x0),
            1e-6);
}

TEST(Process, PMeanVarianceByHand) {
  const Tensor x_t = f64(noise_of(kShape, 1)), out = f64(noise_of(kShape, 2)),
               v = f64(noise_of(kShape, 3));
  for (const MeanKind mean : {MeanKind::epsilon, MeanKind::x_start, MeanKind::previous_x})
    for (const VarianceType variance : {VarianceType::learned, VarianceType::fixed_small,
                                        VarianceType::fixed_large, VarianceType::learned_range})
      for (const bool clip : {false, true}) {
        const GaussianDiffusion d = any_process(variance, mean);
        const Coefficients& k = d.coefficients();
        const Tensor step = steps_of(d);
        const bool learned =
            variance == VarianceType::learned || variance == VarianceType::learned_range;
        const Prediction p =
            d.p_mean_variance(learned ? concat(out, v) : Var(out), x_t, step, clip);
        const std::vector<double> got_mean = doubles(p.mean.value()),
                                  got_x = doubles(p.x_start.value()),
                                  got_var = doubles(p.variance.value()),
                                  got_log = doubles(p.log_variance.value());
        for (std::size_t i = 0; i < got_mean.size(); ++i) {
          const double x = doubles(x_t)[i], o = doubles(out)[i], w = doubles(v)[i];
          const double abar = at(k.alphas_cumprod, step, i), beta = at(k.betas, step, i);
          const double prev = at(k.alphas_cumprod_prev, step, i);
          const double c0 = beta * std::sqrt(prev) / (1 - abar);
          const double ct = (1 - prev) * std::sqrt(1 - beta) / (1 - abar);
          double x0 = mean == MeanKind::epsilon   ? (x - std::sqrt(1 - abar) * o) / std::sqrt(abar)
                      : mean == MeanKind::x_start ? o
                                                  : (o - ct * x) / c0;
          if (clip) x0 = std::clamp(x0, -1.0, 1.0);
          EXPECT_NEAR(got_x[i], x0, 1e-7 * (1 + std::abs(x0)));
          EXPECT_NEAR(got_mean[i], mean == MeanKind::previous_x ? o : c0 * x0 + ct * x, 1e-6);
          const bool first = i < 8;
          const double small = first ? k.posterior_variance[1] : beta * (1 - prev) / (1 - abar);
          double log_variance = std::log(small);  // fixed_small
          if (variance == VarianceType::learned) log_variance = w;
          if (variance == VarianceType::fixed_large)
            log_variance = std::log(first ? k.posterior_variance[1] : beta);
          if (variance == VarianceType::learned_range)
            log_variance = (w + 1) / 2 * std::log(beta) + (1 - w) / 2 * std::log(small);
          EXPECT_NEAR(got_log[i], log_variance, 1e-9);
          const bool zero = variance == VarianceType::fixed_small && first;
          EXPECT_NEAR(got_var[i], zero ? 0 : std::exp(log_variance), 1e-9);
        }
      }
}

TEST(Process, TimestepsAreTheOriginalOnes) {
  DiffusionConfig config;
  config.timestep_respacing = "5";
  config.diffusion_steps = 4000;
  EXPECT_EQ(GaussianDiffusion(config).timestep(1), 1000);
  config.rescale_timesteps = true;
  const GaussianDiffusion d(config);
  EXPECT_EQ(d.timestep(1), 250);
  EXPECT_EQ(d.timestep(4), 999.75f);
  EXPECT_EQ(d.timesteps(steps_of(d)).to_vector<float>(), (std::vector<float>{0, 500, 999.75f}));
  EXPECT_EQ(message_of([&] { d.timestep(5); }), "step 5 is not in [0, 5)");
}

TEST(Process, FlagsMeanWhatGuidedDiffusionMeans) {
  const auto config = [](bool learn, bool small, bool kl, bool xstart, bool rescale) {
    return diffusion_config(1000, "linear", "", learn, small, kl, xstart, false, rescale);
  };
  EXPECT_EQ(config(true, true, false, false, false).variance, VarianceType::learned_range);
  EXPECT_EQ(config(false, true, false, false, false).variance, VarianceType::fixed_small);
  EXPECT_EQ(config(false, false, false, false, false).variance, VarianceType::fixed_large);
  EXPECT_EQ(config(true, false, true, false, true).loss, LossType::rescaled_kl);
  EXPECT_EQ(config(true, false, false, false, true).loss, LossType::rescaled_mse);
  EXPECT_EQ(config(true, false, false, false, false).loss, LossType::mse);
  EXPECT_EQ(config(true, false, false, true, false).mean, MeanKind::x_start);
  EXPECT_EQ(config(true, false, false, false, false).mean, MeanKind::epsilon);
}

TEST(Guidance, ConditionMeanMovesByVarianceTimesGradient) {
  const GaussianDiffusion d = any_process(VarianceType::fixed_large);
  const Tensor x_t = f64(noise_of(kShape, 1)), out = f64(noise_of(kShape, 2)),
               g = f64(noise_of(kShape, 3));
  const Tensor step = steps_of(d);
  const Prediction p = d.p_mean_variance(out, x_t, step, true);
  const Prediction moved = condition_mean(p, g);
  const std::vector<double> before = doubles(p.mean.value()), after = doubles(moved.mean.value());
  for (std::size_t i = 0; i < before.size(); ++i) {
    const double variance =
        i < 8 ? d.coefficients().posterior_variance[1] : at(d.coefficients().betas, step, i);
    EXPECT_NEAR(after[i], before[i] + variance * doubles(g)[i], 1e-12);
  }
  EXPECT_EQ(doubles(moved.x_start.value()), doubles(p.x_start.value()));
  EXPECT_EQ(doubles(moved.variance.value()), doubles(p.variance.value()));
}

TEST(Guidance, ConditionScoreMovesEpsAndIsNotClampedAgain) {
  const GaussianDiffusion d = any_process();
  const Tensor x_t = f64(noise_of(kShape, 1)), out = f64(noise_of(kShape, 2)),
               g = f64(noise_of(kShape, 3));
  const Tensor step = same_step(12, 3);
  const Prediction p = d.p_mean_variance(out, x_t, step, true);
  const Prediction moved = condition_score(d, p, x_t, step, g);
  const double abar = d.coefficients().alphas_cumprod[12];
  const std::vector<double> before = doubles(p.x_start.value()),
                            after = doubles(moved.x_start.value());
  double largest = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    // eps' = eps - sqrt(1 - abar) g, so x_0' = x_0 + (1 - abar) / sqrt(abar) g.
    EXPECT_NEAR(after[i], before[i] + (1 - abar) / std::sqrt(abar) * doubles(g)[i], 1e-9);
    largest = std::max(largest, std::abs(after[i]));
  }
  EXPECT_GT(largest, 1);
  EXPECT_LT(
      largest_difference(moved.mean.value(), d.q_posterior_mean(moved.x_start, x_t, step).value()),
      1e-12);
}

}  // namespace
}  // namespace tiller
