// A sampler's step captured and replayed: on simt, whose graphs keep the launches and run them
// again without the host's code, as a GPU's do.
#include "runtime/graph.h"

#include "runtime/backend.h"
#include "tests/diffusion/util.h"
#include "tests/gpu.h"

namespace tiller {
namespace {

using namespace test;

const Shape kShape{2, 4, 4, 3};
constexpr int kSteps = 6;

// A network in small: depends on x_t, on the timestep and on a weight.
class Toy {
 public:
  explicit Toy(Device device)
      : w_(noise_of({6, 3, 3, 3}, 1).to(device)), v_(noise_of({3, 3, 3, 3}, 2).to(device)) {}
  Model model() const {
    return [this](const Var& x_t, const Tensor& timestep) {
      ConvOptions options;
      options.geometry = {.stride = 1, .pad = 1};
      const Var t = affine(Var(timestep), 1e-3, 0);  // [N]
      const Var h = add(x_t, t, 1, 1, Broadcast::per_sample);
      return affine(tanh(conv2d(h, w_, {}, options).x), 0.5, 0);  // [N,H,W,6]
    };
  }
  Guide guide() const {
    return [this](const Tensor& x_t, const Tensor& timestep) {
      return input_gradient(
          [&](const Var& x) {
            ConvOptions options;
            options.geometry = {.stride = 1, .pad = 1};
            const Var t = affine(Var(timestep), 1e-3, 0);
            const Var h = silu(conv2d(add(x, t, 1, 1, Broadcast::per_sample), v_, {}, options).x);
            return affine(reduce_sum(h), 0.1, 0);
          },
          x_t);
    };
  }

 private:
  Tensor w_, v_;
};

NoiseSource noise_on(Device device) {
  return [device](std::int64_t draw, const Shape& shape) {
    return philox_noise(11, 3)(draw, shape).to(device);
  };
}

std::vector<float> run(Device device, SampleOptions options, bool guided) {
  const GaussianDiffusion d =
      process(1000, "linear", std::to_string(kSteps), VarianceType::learned_range);
  const Toy toy(device);
  Sampler sampler(d, toy.model(), guided ? toy.guide() : Guide(), options, kShape,
                  noise_on(device));
  while (!sampler.done()) sampler.next();
  return sampler.sample().to_vector<float>();
}

TEST(SamplerGraph, ReplaysWhatTheStepsWouldDo) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  for (const bool ddim : {false, true})
    for (const bool guided : {false, true})
      for (const bool own_noise : {false, true}) {
        SCOPED_TRACE(testing::Message() << ddim << guided << own_noise);
        SampleOptions options{.ddim = ddim, .eta = ddim ? 0.5 : 0.0};
        const std::vector<float> expected = run(gpu(), options, guided);
        options.graph = true;
        if (own_noise) options.step_noise = StepNoise{11, 3};
        EXPECT_EQ(run(gpu(), options, guided), expected);
      }
}

TEST(SamplerGraph, RunsEagerlyOnTheCpu) {
  for (const bool own_noise : {false, true}) {
    SampleOptions options;
    const std::vector<float> expected = run(kCpu, options, true);
    options.graph = true;
    if (own_noise) options.step_noise = StepNoise{11, 3};
    EXPECT_EQ(run(kCpu, options, true), expected);
  }
}

TEST(SamplerGraph, AStepNeitherAllocatesNorWaits) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const GaussianDiffusion d =
      process(1000, "linear", std::to_string(kSteps), VarianceType::learned_range);
  const Toy toy(gpu());
  SampleOptions options;
  options.graph = true;
  options.step_noise = StepNoise{11, 3};
  Sampler sampler(d, toy.model(), toy.guide(), options, kShape, noise_on(gpu()));
  sampler.next();
  EXPECT_FALSE(sampler.graph().captured()) << "the first step warms up";
  sampler.next();
  EXPECT_TRUE(sampler.graph().captured());
  EXPECT_GT(sampler.graph().nodes(), 10U);
  const Backend& simt = backend(gpu());
  const MemoryStats before = simt.memory();
  const std::uint64_t waits = simt.host_waits();
  while (!sampler.done()) {
    const StepOutput out = sampler.next();
    EXPECT_EQ(out.sample.raw(), sampler.sample().raw()) << "x_t stays where it is";
  }
  EXPECT_EQ(simt.memory().allocations, before.allocations);
  EXPECT_EQ(simt.memory().segments, before.segments);
  EXPECT_EQ(simt.host_waits(), waits);
}

TEST(SamplerGraph, RestartsForTheNextBatch) {
  const Device device = available(gpu()) ? gpu() : kCpu;
  const GaussianDiffusion d =
      process(1000, "linear", std::to_string(kSteps), VarianceType::learned_range);
  const Toy toy(device);
  SampleOptions options;
  options.graph = true;
  options.step_noise = StepNoise{11, 3};
  Sampler sampler(d, toy.model(), toy.guide(), options, kShape, noise_on(device));
  std::vector<std::vector<float>> batches;
  for (int batch = 0; batch < 2; ++batch) {
    while (!sampler.done()) sampler.next();
    batches.push_back(sampler.sample().to_vector<float>());
    sampler.restart(noise_on(device), StepNoise{11, batch == 0 ? 9U : 3U});
  }
  options.step_noise = StepNoise{11, 9};
  Sampler fresh(d, toy.model(), toy.guide(), options, kShape, noise_on(device));
  while (!fresh.done()) fresh.next();
  EXPECT_EQ(batches[1], fresh.sample().to_vector<float>());
  EXPECT_NE(batches[1], batches[0]);
  while (!sampler.done()) sampler.next();
  EXPECT_EQ(sampler.sample().to_vector<float>(), batches[0]);

  EXPECT_THROW(sampler.restart(noise_on(device), {}), Error) << "it started with noise of its own";
  options.graph = false;
  Sampler eager(d, toy.model(), {}, options, kShape, noise_on(device));
  EXPECT_THROW(eager.restart(noise_on(device), StepNoise{}), Error);
}

TEST(SamplerGraph, LeavesTheGivenStartAlone) {
  const GaussianDiffusion d = process(1000, "linear", "3", VarianceType::learned_range);
  const Toy toy(kCpu);
  const Tensor start = noise_of(kShape, 9);
  const std::vector<float> before = start.to_vector<float>();
  SampleOptions options;
  options.graph = true;
  Sampler sampler(d, toy.model(), {}, options, kShape, noise_on(kCpu), start);
  sampler.next();
  EXPECT_EQ(start.to_vector<float>(), before);
}

}  // namespace
}  // namespace tiller
