// Classifier::read(): the logits, and the vector that the last layer makes them of.
#include <gtest/gtest.h>

#include <cmath>

#include "nn/classifier.h"

namespace tiller {
namespace {

ClassifierConfig config_with(Pool pool) {
  ClassifierConfig config;
  config.image_size = 8;
  config.num_classes = 5;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {};
  config.num_head_channels = 32;
  config.pool = pool;
  return config;
}

class Reading : public ::testing::TestWithParam<std::pair<Pool, const char*>> {};

// The last layer's own weights, applied by hand to the features, give the logits of a plain call.
TEST_P(Reading, TheLastLayerOfTheFeaturesIsTheLogits) {
  const auto [pool, last] = GetParam();
  const auto source = randomize_parameters(3);
  const Classifier network(config_with(pool), *source);
  const NoGrad no_recording;
  Tensor x = Tensor::empty({2, 8, 8, 3});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = std::sin(static_cast<float>(i));
  const Tensor t = Tensor::from(std::vector<float>{10, 500}, {2});
  const Classifier::Reading reading = network.read(x, t);
  const std::vector<float> logits = network(x, t).value().to_vector<float>();
  EXPECT_EQ(reading.logits.value().to_vector<float>(), logits);

  const std::int64_t f = reading.features.dim(1);
  EXPECT_EQ(f, pool == Pool::spatial || pool == Pool::spatial_v2 ? 2048 : 64);
  const std::vector<float> features = reading.features.value().to_vector<float>();
  const Parameter* weight = network.parameters().find(std::string(last) + ".weight");
  const Parameter* bias = network.parameters().find(std::string(last) + ".bias");
  ASSERT_TRUE(weight != nullptr && bias != nullptr);
  const std::vector<float> w = weight->value.to_vector<float>(), b = bias->value.to_vector<float>();
  ASSERT_EQ(w.size(), static_cast<std::size_t>(5 * f));
  for (std::int64_t n = 0; n < 2; ++n)
    for (std::int64_t k = 0; k < 5; ++k) {
      double sum = b[static_cast<std::size_t>(k)];
      for (std::int64_t i = 0; i < f; ++i)
        sum += static_cast<double>(w[static_cast<std::size_t>(k * f + i)]) *
               features[static_cast<std::size_t>(n * f + i)];
      EXPECT_NEAR(logits[static_cast<std::size_t>(n * 5 + k)], sum, 1e-4 * (1 + std::abs(sum)));
    }
}

INSTANTIATE_TEST_SUITE_P(Pools, Reading,
                         ::testing::Values(std::pair(Pool::adaptive, "out.3"),
                                           std::pair(Pool::attention, "out.2.c_proj"),
                                           std::pair(Pool::spatial, "out.2"),
                                           std::pair(Pool::spatial_v2, "out.3")),
                         [](const auto& info) { return std::string(name(info.param.first)); });

}  // namespace
}  // namespace tiller
