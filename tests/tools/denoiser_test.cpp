// Real networks in a captured step, on simt: what a replay computes must be what the steps compute,
// so nothing in the UNet, the classifier or its gradient may lean on the host.
#include "tools/sampling/denoiser.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "runtime/backend.h"
#include "tests/gpu.h"

namespace tiller {
namespace {

using test::gpu;
using test::no_gpu;

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
    if (!available(gpu())) GTEST_SKIP() << no_gpu();
    unet_ = std::make_unique<UNet>(unet_config(), *randomize_parameters(1, DType::f32, gpu()));
    classifier_ = std::make_unique<Classifier>(classifier_config(),
                                               *randomize_parameters(2, DType::f32, gpu()));
  }
  static NoiseSource noise() {
    return [](std::int64_t draw, const Shape& shape) {
      return philox_noise(5, 0)(draw, shape).to(gpu());
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

// Whether each step makes its scales and shifts itself or all were made ahead, and whatever a batch
// before left behind.
TEST(DenoiserTables, MakeNoDifference) {
  const UNet unet(unet_config(), *randomize_parameters(1));
  const Classifier classifier(classifier_config(), *randomize_parameters(2));
  const GaussianDiffusion diffusion(process());
  Denoiser denoiser(unet, &classifier, 2, diffusion);
  const auto draw = [&](std::size_t most_bytes, std::int64_t n) {
    denoiser.most_table_bytes = most_bytes;
    std::vector<std::int64_t> y(static_cast<std::size_t>(n), 2);
    y[0] = 1;
    denoiser.start(n, Tensor::from(y, {n}));
    Sampler sampler(diffusion, denoiser.model(), denoiser.guide(), {}, {n, kSize, kSize, 3},
                    philox_noise(5, 0));
    struct Modules final : TraceSink {
      void on_op(const OpEvent& event) override {
        own += event.module.find("emb_layers") != std::string::npos;
      }
      int own = 0;
    } modules;
    {
      const TraceGuard guard(modules, TraceLevel::ops);
      while (!sampler.done()) sampler.next();
    }
    EXPECT_EQ(modules.own > 0, most_bytes == 0);
    return sampler.sample();
  };
  const std::size_t plenty = std::size_t{1} << 30;
  const Tensor two = draw(plenty, 2), one = draw(plenty, 1);
  const auto expect_same = [](const Tensor& a, const Tensor& b) {
    const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 1e-4) << i;
  };
  expect_same(draw(0, 2), two);
  expect_same(draw(plenty, 1), one);
  expect_same(draw(0, 1), one);
  expect_same(one, two.slice(0, 1));
}

}  // namespace
}  // namespace tiller
