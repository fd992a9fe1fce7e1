// Real networks in a captured step, on simt: what a replay computes must be what the steps compute,
// so nothing in the UNet, the classifier or its gradient may lean on the host.
#include "tools/sampling/denoiser.h"

#include <gtest/gtest.h>

#include <limits>

#include "runtime/backend.h"

namespace tiller {
namespace {

constexpr Device kSimt{DeviceType::simt, 0};
constexpr std::int64_t kBatch = 2, kSize = 8;

// As small as groups of 32 allow, with every kind of layer.
UNetConfig unet_config() {
  UNetConfig config;
  config.image_size = kSize;
  config.out_channels = 6;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.attention_downsample = {2};
  config.channel_mult = {1, 1};
  config.num_head_channels = 32;
  config.num_classes = 3;
  config.resblock_updown = true;
  return config;
}

ClassifierConfig classifier_config() {
  ClassifierConfig config;
  config.image_size = kSize;
  config.num_classes = 3;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.attention_downsample = {2};
  config.channel_mult = {1, 1};
  config.num_head_channels = 32;
  return config;
}

DiffusionConfig process() {
  DiffusionConfig config;
  config.timestep_respacing = "4";
  return config;
}

class DenoiserTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
    unet_ = std::make_unique<UNet>(unet_config(), *randomize_parameters(1, DType::f32, kSimt));
    classifier_ = std::make_unique<Classifier>(classifier_config(),
                                               *randomize_parameters(2, DType::f32, kSimt));
  }
  struct Result {
    std::vector<float> sample;
    std::size_t nodes;
    bool finite;
  };
  Result sample(bool graph) const {
    const GaussianDiffusion diffusion(process());
    Denoiser denoiser(*unet_, classifier_.get(), 2, diffusion);
    denoiser.start(kBatch, Tensor::from(std::vector<std::int64_t>{0, 2}, {kBatch}));
    SampleOptions options;
    options.graph = graph;
    const NoiseSource noise = [](std::int64_t draw, const Shape& shape) {
      return philox_noise(5, 0)(draw, shape).to(kSimt);
    };
    Sampler sampler(diffusion, denoiser.model(), denoiser.guide(), options,
                    {kBatch, kSize, kSize, 3}, noise);
    if (graph) denoiser.follow(sampler.state(), true);
    while (!sampler.done()) sampler.next();
    return {sampler.sample().to_vector<float>(), sampler.graph().nodes(),
            denoiser.numbers_are_finite()};
  }
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<Classifier> classifier_;
};

TEST_F(DenoiserTest, ACapturedStepGivesTheBitsOfTheSteps) {
  const Result steps = sample(false), replayed = sample(true);
  EXPECT_EQ(replayed.sample, steps.sample);
  EXPECT_EQ(steps.nodes, 0U);
  EXPECT_GT(replayed.nodes, 100U);
  EXPECT_TRUE(replayed.finite);
}

TEST_F(DenoiserTest, ACapturedStepServesTheNextBatch) {
  const GaussianDiffusion diffusion(process());
  Denoiser denoiser(*unet_, classifier_.get(), 2, diffusion);
  const auto start = [&](std::int64_t label) {
    denoiser.start(kBatch, Tensor::from(std::vector<std::int64_t>{label, 2}, {kBatch}));
  };
  const NoiseSource noise = [](std::int64_t draw, const Shape& shape) {
    return philox_noise(5, 0)(draw, shape).to(kSimt);
  };
  SampleOptions options;
  options.graph = true;
  start(1);
  Sampler sampler(diffusion, denoiser.model(), denoiser.guide(), options, {kBatch, kSize, kSize, 3},
                  noise);
  denoiser.follow(sampler.state(), true);
  while (!sampler.done()) sampler.next();
  start(0);  // the labels of sample()
  sampler.restart(noise, {});
  while (!sampler.done()) sampler.next();
  EXPECT_EQ(sampler.sample().to_vector<float>(), sample(false).sample);
}

TEST_F(DenoiserTest, ReplaysNoticeNumbersThatAreNotFinite) {
  // What comes out of it is guided by NaN; clamped pictures need not show it.
  const Parameter& bias = classifier_->parameters().all().front();
  const Tensor poison =
      Tensor::from(std::vector<float>(static_cast<std::size_t>(bias.value.numel()),
                                      std::numeric_limits<float>::infinity()),
                   bias.value.shape());
  bias.value.copy_from(poison);
  bias.value.bump_version();
  EXPECT_FALSE(sample(true).finite);
}

}  // namespace
}  // namespace tiller
