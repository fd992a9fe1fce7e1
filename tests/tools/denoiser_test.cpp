// Real networks in a captured step, on simt: what a replay computes must be what the steps compute,
// so nothing in the UNet, the classifier or its gradient may lean on the host.
#include "tools/sampling/denoiser.h"

#include <gtest/gtest.h>

#include <limits>

#include "runtime/backend.h"

namespace tiller {
namespace {

constexpr Device kSimt{DeviceType::simt, 0};
constexpr std::int64_t kBatch = 1, kSize = 8;

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
  config.timestep_respacing = "3";
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
  static NoiseSource noise() {
    return [](std::int64_t draw, const Shape& shape) {
      return philox_noise(5, 0)(draw, shape).to(kSimt);
    };
  }
  static Tensor label(std::int64_t y) {
    return Tensor::from(std::vector<std::int64_t>{y}, {kBatch});
  }
  static SampleOptions captured() {
    SampleOptions options;
    options.graph = true;
    return options;
  }
  const Shape picture_{kBatch, kSize, kSize, 3};
  const GaussianDiffusion diffusion_{process()};
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<Classifier> classifier_;
};

TEST_F(DenoiserTest, ACapturedStepGivesTheBitsOfTheStepsForEveryBatch) {
  Denoiser plain(*unet_, classifier_.get(), 2, diffusion_);
  plain.start(kBatch, label(0));
  Sampler steps(diffusion_, plain.model(), plain.guide(), {}, picture_, noise());
  while (!steps.done()) steps.next();

  Denoiser denoiser(*unet_, classifier_.get(), 2, diffusion_);
  denoiser.start(kBatch, label(1));
  Sampler sampler(diffusion_, denoiser.model(), denoiser.guide(), captured(), picture_, noise());
  denoiser.follow(sampler.state(), true);
  while (!sampler.done()) sampler.next();
  EXPECT_GT(sampler.graph().nodes(), 100U);
  const std::vector<float> other = sampler.sample().to_vector<float>();
  denoiser.start(kBatch, label(0));
  sampler.restart(noise(), {});
  while (!sampler.done()) sampler.next();
  EXPECT_EQ(sampler.sample().to_vector<float>(), steps.sample().to_vector<float>());
  EXPECT_NE(sampler.sample().to_vector<float>(), other) << "the class makes a difference";
  EXPECT_TRUE(denoiser.numbers_are_finite());
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
  Denoiser denoiser(*unet_, classifier_.get(), 2, diffusion_);
  denoiser.start(kBatch, label(0));
  Sampler sampler(diffusion_, denoiser.model(), denoiser.guide(), captured(), picture_, noise());
  denoiser.follow(sampler.state(), true);
  EXPECT_TRUE(denoiser.numbers_are_finite());
  for (int step = 0; step < 2; ++step) sampler.next();  // as it is, and replayed
  EXPECT_FALSE(denoiser.numbers_are_finite());
}

}  // namespace
}  // namespace tiller
