#include "kernels/sampler_step/sampler_step.h"

#include <cstring>

#include "kernels/sampler_step/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

constexpr std::int64_t kSteps = 6;
constexpr std::uint64_t kSeed = 0xFEDCBA9876543210ull;

// The table of a short process with large betas; fixed variances as FIXED_SMALL has them (0 at step
// 0, while its logarithm is clipped).
Tensor table(VarianceKind variance, double eta) {
  std::vector<double> beta, cumprod;
  double product = 1;
  for (std::int64_t i = 0; i < kSteps; ++i) {
    beta.push_back(0.05 + 0.1 * static_cast<double>(i));
    cumprod.push_back(product *= 1 - beta.back());
  }
  const auto previous = [&](std::size_t i) { return i == 0 ? 1.0 : cumprod[i - 1]; };
  const auto posterior = [&](std::size_t i) {
    return beta[i] * (1 - previous(i)) / (1 - cumprod[i]);
  };
  std::vector<float> values;
  for (std::size_t i = 0; i < static_cast<std::size_t>(kSteps); ++i) {
    const auto f = [](double x) { return static_cast<float>(x); };
    const double coef1 = beta[i] * std::sqrt(previous(i)) / (1 - cumprod[i]);
    const double coef2 = (1 - previous(i)) * std::sqrt(1 - beta[i]) / (1 - cumprod[i]);
    const double sigma = eta * std::sqrt((1 - previous(i)) / (1 - cumprod[i])) *
                         std::sqrt(1 - cumprod[i] / previous(i));
    const StepScalars row{.timestep = f(100.0 * static_cast<double>(i)),
                          .sqrt_recip_alphas_cumprod = f(std::sqrt(1 / cumprod[i])),
                          .sqrt_recipm1_alphas_cumprod = f(std::sqrt(1 / cumprod[i] - 1)),
                          .posterior_mean_coef1 = f(coef1),
                          .posterior_mean_coef2 = f(coef2),
                          .log_variance_min = f(std::log(posterior(i == 0 ? 1 : i))),
                          .log_variance_max = f(std::log(beta[i])),
                          .variance = variance == VarianceKind::fixed ? f(posterior(i)) : NAN,
                          .sqrt_one_minus_alphas_cumprod = f(std::sqrt(1 - cumprod[i])),
                          .alphas_cumprod = f(cumprod[i]),
                          .alphas_cumprod_prev = f(previous(i)),
                          .sigma = f(sigma),
                          .add_noise = i == 0 ? 0.0f : 1.0f,
                          .previous_x_recip_coef1 = f(1 / coef1),
                          .previous_x_coef2_by_coef1 = f(coef2 / coef1)};
    float scalars[kStepScalars];
    std::memcpy(scalars, &row, sizeof row);
    values.insert(values.end(), scalars, scalars + kStepScalars);
  }
  return Tensor::from(values, {kSteps, kStepScalars});
}

Tensor state_at(std::int64_t step) {
  return Tensor::from(std::vector<std::int64_t>{step, 4, 1000, static_cast<std::int64_t>(kSeed)},
                      {4});
}

struct Setting {
  MeanKind mean;
  VarianceKind variance;
  bool ddim, clip, gradient;
  std::int64_t step;
  double eta;
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const MeanKind mean : {MeanKind::epsilon, MeanKind::x_start, MeanKind::previous_x})
    for (const VarianceKind variance :
         {VarianceKind::fixed, VarianceKind::learned, VarianceKind::learned_range})
      for (const bool ddim : {false, true})
        for (const bool clip : {false, true})
          for (const bool gradient : {false, true})
            for (const std::int64_t step : {0, 1, 5})
              for (const double eta : {0.0, 0.7})
                if (ddim || eta == 0)
                  all.push_back({mean, variance, ddim, clip, gradient, step, eta});
  return all;
}

std::string describe(const Setting& s) {
  return fmt::format("mean {} variance {} ddim {} clip {} gradient {} step {} eta {}",
                     static_cast<int>(s.mean), static_cast<int>(s.variance), s.ddim, s.clip,
                     s.gradient, s.step, s.eta);
}

SamplerStepArgs make(const Setting& s, DType dtype, const Shape& shape = {2, 5, 7, 3}) {
  const std::int64_t channels = shape[-1];
  const bool learned = s.variance != VarianceKind::fixed;
  SamplerStepArgs args;
  args.x = as_slice(input(shape, dtype, DType::f32, 1));
  args.model =
      as_slice(input(shape.with(-1, learned ? 2 * channels : channels), dtype, DType::f32, 2));
  if (s.gradient) args.gradient = as_slice(input(shape, dtype, DType::f32, 3, 2));
  args.noise = as_slice(input(shape, dtype, DType::f32, 4));
  args.table = table(s.variance, s.eta);
  args.state = state_at(s.step);
  args.y = as_slice(output(shape, dtype));
  args.x_start = as_slice(output(shape, dtype));
  args.mean = s.mean;
  args.variance = s.variance;
  args.ddim = s.ddim;
  args.clip = s.clip;
  return args;
}

struct Result {
  std::vector<double> sample, x_start;
};

// gaussian_diffusion.py's p_sample and ddim_sample, function by function, in double.
Result by_hand(const SamplerStepArgs& args, std::int64_t step, double eta) {
  StepScalars k;
  std::memcpy(&k, args.table.data<float>() + step * kStepScalars, sizeof k);
  const std::vector<double> x = doubles(args.x), noise = doubles(args.noise);
  const std::vector<double> model = doubles(args.model);
  const std::vector<double> gradient =
      args.gradient ? doubles(args.gradient) : std::vector<double>(x.size(), 0.0);
  const double recip = k.sqrt_recip_alphas_cumprod, recipm1 = k.sqrt_recipm1_alphas_cumprod;
  const double alpha_bar = k.alphas_cumprod, alpha_bar_prev = k.alphas_cumprod_prev;
  const auto channels = static_cast<std::size_t>(args.x.cols());
  const auto wide = static_cast<std::size_t>(args.model.cols());
  const auto eps_from_x_start = [&](double x_t, double x0) { return (recip * x_t - x0) / recipm1; };
  const auto x_start_from_eps = [&](double x_t, double eps) { return recip * x_t - recipm1 * eps; };
  Result result;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double out = model[i / channels * wide + i % channels];
    // p_mean_variance
    double variance = k.variance, log_variance = k.log_variance_min;
    if (args.variance != VarianceKind::fixed) {
      const double values = model[i / channels * wide + channels + i % channels];
      const double fraction = (values + 1) / 2;
      log_variance = args.variance == VarianceKind::learned
                         ? values
                         : fraction * k.log_variance_max + (1 - fraction) * k.log_variance_min;
      variance = std::exp(log_variance);
    }
    double x0 = out;
    if (args.mean == MeanKind::epsilon) x0 = x_start_from_eps(x[i], out);
    if (args.mean == MeanKind::previous_x)
      x0 = out / k.posterior_mean_coef1 - k.posterior_mean_coef2 / k.posterior_mean_coef1 * x[i];
    if (args.clip) x0 = std::min(1.0, std::max(-1.0, x0));
    double mean = k.posterior_mean_coef1 * x0 + k.posterior_mean_coef2 * x[i];
    if (args.mean == MeanKind::previous_x) mean = out;
    const double nonzero = step == 0 ? 0 : 1;
    if (!args.ddim) {
      mean += variance * gradient[i];  // condition_mean
      result.sample.push_back(mean + nonzero * std::exp(0.5 * log_variance) * noise[i]);
      result.x_start.push_back(x0);
      continue;
    }
    if (args.gradient) {  // condition_score
      double eps = eps_from_x_start(x[i], x0);
      eps = eps - std::sqrt(1 - alpha_bar) * gradient[i];
      x0 = x_start_from_eps(x[i], eps);
    }
    const double eps = eps_from_x_start(x[i], x0);
    const double sigma = eta * std::sqrt((1 - alpha_bar_prev) / (1 - alpha_bar)) *
                         std::sqrt(1 - alpha_bar / alpha_bar_prev);
    const double mean_pred =
        x0 * std::sqrt(alpha_bar_prev) + std::sqrt(1 - alpha_bar_prev - sigma * sigma) * eps;
    result.sample.push_back(mean_pred + nonzero * sigma * noise[i]);
    result.x_start.push_back(x0);
  }
  return result;
}

double error(const Tensor& got, const std::vector<double>& expected) {
  return relative_error(got, tensor_of(expected, got.shape(), DType::f64));
}

TEST(SamplerStepTest, EveryRowDoesWhatTheAlgorithmsSay) {
  const ThreadsGuard restore;
  set_threads(1);  // many small calls
  for (const Setting& s : settings()) {
    SCOPED_TRACE(describe(s));
    for (const DType dtype : {DType::f64, DType::f32}) {
      const Result expected = by_hand(make(s, dtype), s.step, s.eta);
      const int rows =
          for_each_row(sampler_step, make(s, dtype), [&](const Row<SamplerStepArgs>& row) {
            const SamplerStepArgs args = make(s, dtype);
            check(args);
            run_here(sampler_step, args);
            // The table's sigma is a float, the formula's is not.
            const double limit = dtype == DType::f64 ? 1e-6 : 1e-5;
            EXPECT_LT(error(args.y, expected.sample), limit) << row.name;
            EXPECT_LT(error(args.x_start, expected.x_start), limit) << row.name;
            EXPECT_EQ(
                args.state.to_vector<std::int64_t>(),
                (std::vector<std::int64_t>{s.step - 1, 5, 1000, static_cast<std::int64_t>(kSeed)}));
          });
      EXPECT_GE(rows, dtype == DType::f64 ? 1 : 2);
    }
  }
}

const Setting kGuided{MeanKind::epsilon, VarianceKind::learned_range, false, true, true, 5, 0};

TEST(SamplerStepTest, OwnNoiseIsFillNormals) {
  const Shape shape{3, 19, 20, 3};  // more than a block, and no multiple of 32
  const Tensor noise = Tensor::empty(shape);
  fill_normal(noise, RandomKey{kSeed, 1000, 4, RandomStream::step_noise});
  for (const bool ddim : {false, true}) {
    Setting s = kGuided;
    s.ddim = ddim;
    s.eta = 0.7;
    for_each_row(sampler_step, make(s, DType::f32, shape), [&](const auto&) {
      SamplerStepArgs given = make(s, DType::f32, shape), drawn = make(s, DType::f32, shape);
      given.noise = noise;
      drawn.noise = {};
      run_here(sampler_step, given);
      run_here(sampler_step, drawn);
      EXPECT_EQ(doubles(drawn.y), doubles(given.y));
    });
  }
}

TEST(SamplerStepTest, ThreadsPlacesAndAbsentOutputsChangeNothing) {
  const ThreadsGuard restore;
  const Shape shape{3, 19, 20, 3};
  for (const bool own_noise : {false, true})
    for_each_row(sampler_step, make(kGuided, DType::f32, shape), [&](const auto&) {
      std::vector<double> first;
      for (const int count : {1, 2, 3}) {
        set_threads(count);
        SamplerStepArgs args = make(kGuided, DType::f32, shape);
        if (own_noise) args.noise = {};
        run_here(sampler_step, args);
        if (count == 1) first = doubles(args.y);
        EXPECT_EQ(doubles(args.y), first);
        SamplerStepArgs in_place = make(kGuided, DType::f32, shape);
        if (own_noise) in_place.noise = {};
        in_place.x = in_place.x.clone();  // dense
        in_place.y = in_place.x;
        in_place.x_start = {};
        run_here(sampler_step, in_place);
        EXPECT_EQ(doubles(in_place.y), first);
      }
    });
}

TEST(SamplerStepTest, NoiseIsNotReadWhereNoneIsAdded) {
  Setting last = kGuided;
  last.step = 0;
  Setting ddim = kGuided;
  ddim.ddim = true;  // eta = 0
  for (const Setting& s : {last, ddim})
    for_each_row(sampler_step, make(s, DType::f32), [&](const auto&) {
      const SamplerStepArgs args = make(s, DType::f32);
      poison(args.noise);
      run_here(sampler_step, args);
      for (const double v : doubles(args.y)) EXPECT_TRUE(std::isfinite(v));
    });
}

TEST(SamplerStepTest, ALaunchedStepReplays) {
  SamplerStepArgs args = make(kGuided, DType::f32);
  args.noise = {};
  args.y = args.x;
  for (std::int64_t step = 5; step >= 0; --step) {
    EXPECT_EQ(args.state.data<std::int64_t>()[0], step);
    run_here(sampler_step, args);
  }
  EXPECT_EQ(args.state.data<std::int64_t>()[1], 10);
  EXPECT_NE(
      message_of([&] { run_here(sampler_step, args); }).find("step -1 is not within the table's 6"),
      std::string::npos);
}

TEST(SamplerStepTest, AnEmptyBatchAdvances) {
  for_each_row(sampler_step, make(kGuided, DType::f32, {0, 4, 4, 3}), [&](const auto&) {
    const SamplerStepArgs args = make(kGuided, DType::f32, {0, 4, 4, 3});
    check(args);
    run_here(sampler_step, args);
    EXPECT_EQ(args.state.data<std::int64_t>()[0], 4);
  });
}

TEST(SamplerStepTest, CostIsWhatTheReferenceDoes) {
  for (const Setting& s : settings()) {
    if (s.step == 0 || (s.ddim && s.eta == 0)) continue;  // cost() is that of a step with noise
    SCOPED_TRACE(describe(s));
    for (const bool own_noise : {false, true}) {
      SamplerStepArgs args = make(s, DType::f64);
      if (own_noise) args.noise = {};
      check(args);
      Counter counter;
      for (const Tensor& t : {args.x, args.model, args.gradient, args.noise, args.y, args.x_start})
        counter.watch(t);
      {
        const CountGuard guard(counter);
        sampler_step_reference<Counted>(args);
      }
      const Cost expected = cost(args);
      const double scalars = sizeof(StepScalars) + sizeof(StepState), advanced = 16;
      EXPECT_EQ(counter.flops(), expected.flops);
      EXPECT_EQ(8.0 * static_cast<double>(counter.elements_read()) + scalars, expected.bytes_read);
      EXPECT_EQ(8.0 * static_cast<double>(counter.elements_written()) + advanced,
                expected.bytes_written);
    }
  }
}

TEST(SamplerStepTest, WrongArgumentsAreNamed) {
  SamplerStepArgs args = make(kGuided, DType::f32);
  args.model = args.x;
  EXPECT_NE(message_of([&] { check(args); }).find("model is f32[2,5,7,3], not [2,5,7,6]"),
            std::string::npos);
  args = make(kGuided, DType::f32);
  args.table = Tensor::empty({6, 4});
  EXPECT_NE(message_of([&] { check(args); }).find("table is f32[6,4], not [6,15]"),
            std::string::npos);
  args = make(kGuided, DType::f32);
  args.gradient = Tensor::empty({2, 5, 7, 3}, DType::f16);
  EXPECT_NE(message_of([&] { check(args); }).find("gradient f16[2,5,7,3] beside x f32"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
