// Losses of every type where they are known in closed form.
#include "diffusion/losses.h"

#include <numbers>

#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

constexpr double kLn2 = std::numbers::ln2;
const Shape kShape{3, 2, 2, 3};

Tensor full(double value, const Shape& shape = kShape) {
  return fill(shape, DType::f64, kCpu, value);
}

TEST(NormalKl, ClosedForm) {
  const auto kl = [](double m1, double v1, double m2, double v2) {
    return doubles(
        normal_kl(full(m1), full(std::log(v1)), full(m2), full(std::log(v2))).value())[0];
  };
  EXPECT_NEAR(kl(0.3, 2, 0.3, 2), 0, 1e-12);
  EXPECT_NEAR(kl(0, 1, 1, 1), 0.5, 1e-12);
  EXPECT_NEAR(kl(1, 4, 3, 9), 0.5 * (std::log(9.0 / 4) + (4 + 4) / 9.0 - 1), 1e-12);
}

// The 256 bins' probabilities telescope: whatever the Gaussian, they add up to one.
TEST(DiscretizedGaussian, ProbabilitiesAddUpToOne) {
  std::vector<double> values;
  for (int i = 0; i < 256; ++i) values.push_back(i / 127.5 - 1);
  const Shape shape{256, 1};
  const Tensor x = Tensor::from(values, shape);
  for (const double mean : {-1.2, 0.0, 0.7})
    for (const double deviation : {0.05, 0.5, 3.0}) {
      const Var log_p = discretized_gaussian_log_likelihood(x, full(mean, shape),
                                                            full(std::log(deviation), shape));
      double sum = 0;
      for (const double l : doubles(log_p.value())) sum += std::exp(l);
      EXPECT_NEAR(sum, 1, 1e-6) << mean << " " << deviation;
    }
}

TEST(DiscretizedGaussian, UsesTheTanhApproximationOfTheCdf) {
  const Shape one{1, 1};
  const auto cdf = [](double z) {
    return 0.5 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (z + 0.044715 * z * z * z)));
  };
  const auto at = [&](double x) {
    return doubles(
        discretized_gaussian_log_likelihood(full(x, one), full(0.2, one), full(std::log(0.5), one))
            .value())[0];
  };
  const auto z = [](double x) { return (x - 0.2) / 0.5; };
  EXPECT_NEAR(at(0.1), std::log(cdf(z(0.1 + 1.0 / 255)) - cdf(z(0.1 - 1.0 / 255))), 1e-9);
  EXPECT_NEAR(at(-1), std::log(cdf(z(-1 + 1.0 / 255))), 1e-9);
  EXPECT_NEAR(at(1), std::log(1 - cdf(z(1 - 1.0 / 255))), 1e-9);
  // Nothing falls below 1e-12.
  EXPECT_NEAR(doubles(discretized_gaussian_log_likelihood(full(0.9, one), full(-1, one),
                                                          full(std::log(0.01), one))
                          .value())[0],
              std::log(1e-12), 1e-9);
}

struct Case {
  Tensor x0 = f64(affine(tanh(noise_of(kShape, 1)), 0.9, 0).value());
  Tensor noise = f64(noise_of(kShape, 2));
  Tensor step = Tensor::from(std::vector<std::int64_t>{1, 10, 19}, {3});
};

GaussianDiffusion with(VarianceType variance, MeanKind mean, LossType loss) {
  return process(1000, "linear", "20", variance, mean, loss);
}

TEST(TrainingLosses, MseIsOfTheTargetOfEachMeanKind) {
  const Case c;
  for (const MeanKind mean : {MeanKind::epsilon, MeanKind::x_start, MeanKind::previous_x}) {
    const GaussianDiffusion d = with(VarianceType::fixed_small, mean, LossType::mse);
    for (const double off : {0.0, 0.5}) {
      const Model model = [&](const Var& x_t, const Tensor&) {
        const Var target = mean == MeanKind::epsilon   ? Var(c.noise)
                           : mean == MeanKind::x_start ? Var(c.x0)
                                                       : d.q_posterior_mean(c.x0, x_t, c.step);
        return affine(target, 1, off);
      };
      const TrainingLosses l = training_losses(d, model, c.x0, c.step, c.noise);
      for (const double v : doubles(l.loss.value())) EXPECT_NEAR(v, off * off, 1e-12);
      EXPECT_FALSE(l.vb.defined());
      EXPECT_TRUE(l.mse.defined());
    }
  }
}

// Whatever the network predicts, an error of x_0 weighs the clamped ratio.
TEST(TrainingLosses, WeighsByTheClampedSignalToNoiseRatio) {
  const Case c;
  for (const MeanKind mean : {MeanKind::epsilon, MeanKind::x_start}) {
    const GaussianDiffusion d = with(VarianceType::fixed_small, mean, LossType::mse);
    const Model model = [&](const Var&, const Tensor&) {
      return affine(mean == MeanKind::epsilon ? Var(c.noise) : Var(c.x0), 1, 0.5);
    };
    bool clamped_below = false, clamped_above = false, between = false;
    const SnrClamp clamp{0.01, 5};
    const TrainingLosses l = training_losses(d, model, c.x0, c.step, c.noise, clamp);
    const auto step = c.step.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < step.size(); ++i) {
      const double abar = d.coefficients().alphas_cumprod[static_cast<std::size_t>(step[i])];
      const double snr = abar / (1 - abar);
      // An error of 0.5 of the noise is one of 0.5 / sqrt(snr) of x_0.
      const double of_x_start = mean == MeanKind::epsilon ? 0.25 / snr : 0.25;
      const double weight = snr < 0.01 ? 0.01 : snr > 5 ? 5 : snr;
      EXPECT_NEAR(doubles(l.loss.value())[i], weight * of_x_start, 1e-9 * weight * of_x_start);
      EXPECT_NEAR(doubles(l.mse.value())[i], 0.25, 1e-12) << "mse stays plain";
      clamped_below |= snr < 0.01;
      clamped_above |= snr > 5;
      between |= snr > 0.01 && snr < 5;
    }
    EXPECT_TRUE(clamped_below && clamped_above && between);
  }
  for (const auto& [mean, loss] : {std::pair{MeanKind::previous_x, LossType::mse},
                                   std::pair{MeanKind::x_start, LossType::kl}}) {
    const GaussianDiffusion d = with(VarianceType::fixed_small, mean, loss);
    const Model model = [&](const Var& x_t, const Tensor&) { return x_t; };
    EXPECT_THROW(training_losses(d, model, c.x0, c.step, c.noise, SnrClamp{0, 5}), Error);
  }
}

TEST(TrainingLosses, TheNetworkSeesXtAndItsTimesteps) {
  const Case c;
  const GaussianDiffusion d = with(VarianceType::fixed_small, MeanKind::epsilon, LossType::mse);
  const Model model = [&](const Var& x_t, const Tensor& timestep) {
    EXPECT_EQ(timestep.to_vector<float>(), d.timesteps(c.step).to_vector<float>());
    EXPECT_EQ(doubles(x_t.value()), doubles(d.q_sample(c.x0, c.step, c.noise).value()));
    return x_t;
  };
  training_losses(d, model, c.x0, c.step, c.noise);
}

// KL of a fixed variance: both Gaussians' variances known, the means apart by what x_0 is off.
TEST(TrainingLosses, KlOfAKnownError) {
  const Case c;
  for (const LossType type : {LossType::kl, LossType::rescaled_kl}) {
    const GaussianDiffusion d = with(VarianceType::fixed_large, MeanKind::x_start, type);
    const Coefficients& k = d.coefficients();
    const Model model = [&](const Var&, const Tensor&) { return affine(Var(c.x0), 1, 0.5); };
    const TrainingLosses l = training_losses(d, model, c.x0, c.step, c.noise);
    EXPECT_FALSE(l.mse.defined());
    const auto step = c.step.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < step.size(); ++i) {
      const auto t = static_cast<std::size_t>(step[i]);
      const double true_variance = k.posterior_variance[t], variance = k.betas[t];
      const double off = k.posterior_mean_coef1[t] * 0.5;  // never clipped
      const double kl = 0.5 * (std::log(variance / true_variance) + true_variance / variance +
                               off * off / variance - 1);
      EXPECT_NEAR(doubles(l.loss.value())[i], kl / kLn2 * (type == LossType::rescaled_kl ? 20 : 1),
                  1e-9);
    }
  }
}

TEST(TrainingLosses, ALearnedVarianceAddsTheBoundRescaledByItsType) {
  const Case c;
  // v = -1 gives the posterior's own variance: with the exact eps nothing is left of the KL.
  for (const double v : {-1.0, 1.0})
    for (const LossType type : {LossType::mse, LossType::rescaled_mse}) {
      const GaussianDiffusion d = with(VarianceType::learned_range, MeanKind::epsilon, type);
      const Coefficients& k = d.coefficients();
      const Model model = [&](const Var&, const Tensor&) {
        return concat(affine(Var(c.noise), 1, 0.25), full(v));
      };
      const TrainingLosses l = training_losses(d, model, c.x0, c.step, c.noise);
      const auto step = c.step.to_vector<std::int64_t>();
      for (std::size_t i = 0; i < step.size(); ++i) {
        const auto t = static_cast<std::size_t>(step[i]);
        const double p = k.posterior_variance[t], q = v < 0 ? p : k.betas[t];
        const double off = k.posterior_mean_coef1[t] * k.sqrt_recipm1_alphas_cumprod[t] * 0.25;
        const double kl = 0.5 * (std::log(q / p) + p / q + off * off / q - 1);
        const double vb = kl / kLn2 * (type == LossType::rescaled_mse ? 20.0 / 1000 : 1);
        EXPECT_NEAR(doubles(l.vb.value())[i], vb, 1e-9 * (1 + vb));
        EXPECT_NEAR(doubles(l.mse.value())[i], 0.0625, 1e-12);
        EXPECT_NEAR(doubles(l.loss.value())[i], 0.0625 + vb, 1e-9 * (1 + vb));
      }
    }
}

// The mean is a constant to the bound: its gradient is the mse's alone, 2 (out - noise) / D.
TEST(TrainingLosses, TheBoundDoesNotTrainTheMean) {
  const Case c;
  const GaussianDiffusion d =
      with(VarianceType::learned_range, MeanKind::epsilon, LossType::rescaled_mse);
  const Tensor mean = f64(noise_of(kShape, 3)), v = full(0.3);
  Tape tape;
  tape.watch(mean);
  tape.watch(v);
  const TapeGuard recording(tape);
  const Model model = [&](const Var&, const Tensor&) { return concat(Var(mean), Var(v)); };
  Gradients sums;
  const Var loss = training_losses(d, model, c.x0, c.step, c.noise).loss;
  tape.backward(loss, {}, sums);
  const std::vector<double> got = doubles(sums.of(mean));
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], 2 * (doubles(mean)[i] - doubles(c.noise)[i]) / 12, 1e-12);
  double by_v = 0;
  for (const double g : doubles(sums.of(v))) by_v += std::abs(g);
  EXPECT_GT(by_v, 1e-6);
}

TEST(BoundTerm, StepZeroIsTheDecodersLikelihood) {
  const Case c;
  const GaussianDiffusion d = with(VarianceType::fixed_large, MeanKind::x_start, LossType::kl);
  const Tensor step = same_step(0, 3);
  const Var x_t = d.q_sample(c.x0, step, c.noise);
  const BoundTerm term = variational_bound_term(d, Var(c.x0), c.x0, x_t, step, false);
  const Var expected = discretized_gaussian_log_likelihood(
      c.x0, d.q_posterior_mean(c.x0, x_t, step),
      full(0.5 * std::log(d.coefficients().posterior_variance[1])));
  const std::vector<double> mean = doubles(reduce_mean(expected, ReduceOver::features).value());
  for (std::size_t i = 0; i < mean.size(); ++i)
    EXPECT_NEAR(doubles(term.bits.value())[i], -mean[i] / kLn2, 1e-9);
}

TEST(BitsPerDimension, ColumnsRunFromTheLastStepAndAddUpWithThePrior) {
  const GaussianDiffusion d = with(VarianceType::fixed_small, MeanKind::epsilon, LossType::mse);
  const Tensor x0 = affine(tanh(noise_of(kShape, 1)), 0.9, 0).value();
  std::vector<std::int64_t> draws;
  std::vector<float> seen;
  Tensor last;
  const auto noise = [&](std::int64_t draw, const Shape& shape) {
    draws.push_back(draw);
    return last = noise_of(shape, 100 + static_cast<std::uint64_t>(draw));
  };
  const Model exact = [&](const Var&, const Tensor& timestep) {
    seen.push_back(timestep.to_vector<float>()[0]);
    return Var(last);
  };
  const BitsPerDimension b = bits_per_dimension(d, exact, x0, false, noise);
  for (std::int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(draws[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(seen[static_cast<std::size_t>(i)], d.timestep(19 - i));
  }
  const std::vector<double> vb = doubles(b.vb), prior = doubles(b.prior), total = doubles(b.total);
  for (std::size_t n = 0; n < 3; ++n) {
    double sum = prior[n];
    for (std::size_t t = 0; t < 20; ++t) {
      sum += vb[n * 20 + t];
      EXPECT_NEAR(t < 19 ? vb[n * 20 + t] : 0, 0, 1e-4);  // the exact eps: no KL
      EXPECT_NEAR(doubles(b.mse)[n * 20 + t], 0, 1e-6);
      EXPECT_NEAR(doubles(b.x_start_mse)[n * 20 + t], 0, 1e-6);
    }
    EXPECT_NEAR(total[n], sum, 1e-5);
    double squares = 0;
    for (std::size_t i = 0; i < 12; ++i) squares += std::pow(doubles(x0)[n * 12 + i], 2) / 12;
    const double abar = d.coefficients().alphas_cumprod.back();
    EXPECT_NEAR(prior[n], 0.5 * (-1 - std::log(1 - abar) + (1 - abar) + abar * squares) / kLn2,
                1e-6);
  }
}

}  // namespace
}  // namespace tiller
