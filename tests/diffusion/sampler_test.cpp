// What the sampler promises around its steps.
#include "diffusion/sampler.h"

#include "diffusion/guidance.h"
#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

const Shape kShape{4, 3, 2, 3};

Var half(const Var& x_t, const Tensor&) { return affine(x_t, 0.5, 0.1); }
Tensor pull(const Tensor& x_t, const Tensor&) { return affine(x_t, -0.4, 0.2).value(); }

Tensor sample_of(const GaussianDiffusion& d, const Guide& guide, const SampleOptions& options,
                 const Shape& shape = kShape, std::uint32_t first = 0) {
  Sampler sampler(d, half, guide, options, shape, philox_noise(5, first));
  while (!sampler.done()) sampler.next();
  return sampler.sample();
}

GaussianDiffusion short_process() {
  return process(1000, "linear", "8", VarianceType::fixed_large);
}

TEST(Sampler, ScaleZeroEqualsUnguidedBitForBit) {
  const GaussianDiffusion d = short_process();
  EXPECT_FALSE(scaled(pull, 0));
  for (const bool ddim : {false, true})
    for (const bool fused : {false, true}) {
      SampleOptions options;
      options.ddim = ddim;
      options.fused = fused;
      const std::vector<float> unguided = sample_of(d, {}, options).to_vector<float>();
      EXPECT_EQ(sample_of(d, scaled(pull, 0), options).to_vector<float>(), unguided);
      EXPECT_NE(sample_of(d, scaled(pull, 1), options).to_vector<float>(), unguided);
    }
}

TEST(Sampler, ScaleMultipliesTheGradient) {
  const Tensor x = noise_of(kShape, 1);
  const Tensor once = scaled(pull, 1)(x, {}), thrice = scaled(pull, 3)(x, {});
  EXPECT_LT(relative_error(thrice, affine(once, 3, 0).value()), 1e-7);
}

TEST(Sampler, SamplesDoNotDependOnTheBatchSize) {
  const GaussianDiffusion d = short_process();
  for (const bool ddim : {false, true}) {
    SampleOptions options;
    options.ddim = ddim;
    options.eta = ddim ? 1 : 0;
    const std::vector<float> together = sample_of(d, pull, options).to_vector<float>();
    std::vector<float> apart;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::vector<float> one =
          sample_of(d, pull, options, kShape.with(0, 1), i).to_vector<float>();
      apart.insert(apart.end(), one.begin(), one.end());
    }
    EXPECT_EQ(together, apart);
  }
}

TEST(PhiloxNoise, DiffersBySeedSampleAndDraw) {
  const auto draw = [](std::uint64_t seed, std::uint32_t first, std::int64_t which) {
    return philox_noise(seed, first)(which, kShape).to_vector<float>();
  };
  const std::vector<float> noise = draw(5, 0, 1);
  EXPECT_EQ(noise, draw(5, 0, 1));
  EXPECT_NE(noise, draw(6, 0, 1));
  EXPECT_NE(noise, draw(5, 1, 1));
  EXPECT_NE(noise, draw(5, 0, 2));
  EXPECT_NE(noise, draw(5, 0, 0));
}

TEST(Sampler, YieldsEveryStep) {
  const GaussianDiffusion d = short_process();
  for (const bool fused : {false, true}) {
    std::vector<float> seen;  // by the network, and by the guide
    const Model model = [&](const Var& x_t, const Tensor& timestep) {
      EXPECT_EQ(timestep.shape(), (Shape{4}));
      for (const float t : timestep.to_vector<float>()) seen.push_back(t);
      return half(x_t, timestep);
    };
    const Guide guide = [&](const Tensor& x_t, const Tensor& timestep) {
      EXPECT_EQ(timestep.to_vector<float>().back(), seen.back());
      return pull(x_t, timestep);
    };
    SampleOptions options;
    options.fused = fused;
    Sampler sampler(d, model, guide, options, kShape, philox_noise(5, 0));
    std::int64_t expected = d.steps();
    while (!sampler.done()) {
      const Tensor x_t = sampler.sample();
      const StepOutput out = sampler.next();
      EXPECT_EQ(out.step, --expected);
      EXPECT_EQ(out.gradient.to_vector<float>(), pull(x_t, {}).to_vector<float>());
      EXPECT_EQ(out.sample.to_vector<float>(), sampler.sample().to_vector<float>());
      const Var x_start =
          d.predict_x_start_from_epsilon(x_t, same_step(out.step, 4), half(x_t, {}));
      EXPECT_LT(relative_error(out.x_start, clamp(x_start, -1, 1).value()), 1e-6);
    }
    EXPECT_EQ(expected, 0);
    std::vector<float> timesteps;
    for (auto t = d.kept().rbegin(); t != d.kept().rend(); ++t)
      timesteps.insert(timesteps.end(), 4, static_cast<float>(*t));
    EXPECT_EQ(seen, timesteps);
    EXPECT_EQ(message_of([&] { sampler.next(); }), "the sampler has finished");
  }
}

// A generator with a state must stand where PyTorch's stands: one draw per step, needed or not.
TEST(Sampler, DrawsOncePerStepInOrder) {
  const GaussianDiffusion d = short_process();
  for (const bool given : {false, true}) {
    std::vector<std::int64_t> draws;
    const NoiseSource noise = [&](std::int64_t draw, const Shape& shape) {
      draws.push_back(draw);
      return noise_of(shape, static_cast<std::uint64_t>(draw));
    };
    SampleOptions options;
    options.ddim = true;
    Sampler sampler(d, half, {}, options, kShape, noise, given ? noise_of(kShape, 0) : Tensor());
    while (!sampler.done()) sampler.next();
    std::vector<std::int64_t> expected;
    for (std::int64_t i = given ? 1 : 0; i <= d.steps(); ++i) expected.push_back(i);
    EXPECT_EQ(draws, expected);
  }
}

TEST(Sampler, DenoisedFnComesBeforeTheClamp) {
  const GaussianDiffusion d = short_process();
  SampleOptions options;
  options.denoised_fn = [](const Var& x_start) { return affine(x_start, 0, 3); };
  Sampler sampler(d, half, {}, options, kShape, philox_noise(5, 0));
  const StepOutput out = sampler.next();
  for (const float v : out.x_start.to_vector<float>()) EXPECT_EQ(v, 1);
}

// The trap of the reference: its one-step process crashes. Here x_0 is what the network says.
TEST(Sampler, OneStepAndTwoStepsWork) {
  for (const VarianceType variance : {VarianceType::fixed_small, VarianceType::fixed_large})
    for (const bool ddim : {false, true}) {
      const GaussianDiffusion one = process(1, "cosine", "", variance);
      const GaussianDiffusion kept = process(1000, "linear", "1", variance);
      for (const GaussianDiffusion* d : {&one, &kept}) {
        SampleOptions options;
        options.ddim = ddim;
        const Tensor start = noise_of(kShape, 3);
        Sampler sampler(*d, half, {}, options, kShape, philox_noise(5, 0), start);
        const StepOutput out = sampler.next();
        EXPECT_TRUE(sampler.done());
        const Var x_start =
            d->predict_x_start_from_epsilon(start, same_step(0, 4), half(start, {}));
        EXPECT_LT(relative_error(out.sample, clamp(x_start, -1, 1).value()), 2e-6);
      }
      const GaussianDiffusion two = process(2, "cosine", "", variance);
      SampleOptions options;
      options.ddim = ddim;
      for (const float v : sample_of(two, pull, options).to_vector<float>())
        EXPECT_TRUE(std::isfinite(v));
    }
}

TEST(Sampler, BadInputIsNamed) {
  const GaussianDiffusion d = short_process();
  const auto make = [&](const SampleOptions& options, const Tensor& start = {}) {
    return message_of([&] { Sampler(d, half, {}, options, kShape, philox_noise(1, 0), start); });
  };
  EXPECT_EQ(make({.ddim = true, .eta = 1.5}),
            "--eta 1.5: DDIM's eta lies between 0 (deterministic) and 1 (as noisy as DDPM)");
  EXPECT_NE(make({.ddim = true, .eta = -0.1}).find("--eta -0.1"), std::string::npos);
  EXPECT_NE(make({.ddim = true, .eta = NAN}).find("--eta nan"), std::string::npos);
  EXPECT_EQ(make({}, Tensor::zeros({1, 3, 2, 3})),
            "the start noise is f32[1,3,2,3], not [4,3,2,3]");
  EXPECT_EQ(message_of([&] { Sampler(d, {}, {}, {}, kShape, philox_noise(1, 0)); }),
            "a sampler needs a model");

  const Guide wrong = [](const Tensor&, const Tensor&) { return Tensor::zeros({4}); };
  Sampler sampler(d, half, wrong, {}, kShape, philox_noise(1, 0));
  EXPECT_NE(message_of([&] { sampler.next(); }).find("the guide gave f32[4]"), std::string::npos);

  // A network with a learned variance in a process that has none.
  const Model wide = [](const Var& x, const Tensor&) { return concat(x, x); };
  for (const bool fused : {false, true}) {
    SampleOptions options;
    options.fused = fused;
    Sampler other(d, wide, {}, options, kShape, philox_noise(1, 0));
    const std::string message = message_of([&] { other.next(); });
    EXPECT_NE(message.find("[4,3,2,6]"), std::string::npos) << message;
  }
  const Tensor x = noise_of(kShape, 1);
  EXPECT_NE(message_of([&] { ddpm_step(d, x, x, 3, {}, {}, {}); }).find("noise is none"),
            std::string::npos);
  EXPECT_EQ(message_of([&] { ddim_reverse_step(d, x, x, 3, {.ddim = true, .eta = 0.5}); }),
            "only DDIM with eta 0 can be run backwards, not eta 0.5");
}

// With a network that always says the same, the backward step undoes the forward one exactly.
TEST(DdimReverse, UndoesAStep) {
  const GaussianDiffusion d = process(1000, "cosine", "10", VarianceType::fixed_small);
  const SampleOptions options{.ddim = true, .clip = false};
  const Tensor eps = f64(noise_of(kShape, 1)), x = f64(noise_of(kShape, 2));
  for (std::int64_t step = 0; step + 1 < d.steps(); ++step) {
    const Tensor up = ddim_reverse_step(d, eps, x, step, options).sample;
    const Tensor down = ddim_step(d, eps, up, step + 1, {}, {}, options).sample;
    EXPECT_LT(relative_error(down, x), 1e-9) << step;
    EXPECT_GT(relative_error(up, x), 1e-3) << step;
  }
}

}  // namespace
}  // namespace tiller
