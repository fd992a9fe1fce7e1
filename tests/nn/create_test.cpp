// Training from scratch starts from PyTorch's distributions.
#include <algorithm>
#include <functional>
#include <numeric>

#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

// A UNet and classifiers that together have every kind of layer.
UNetConfig unet_with(bool updown) {
  UNetConfig config;
  config.image_size = 16;
  config.model_channels = 64;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.num_classes = 100;
  config.resblock_updown = updown;
  return config;
}

ClassifierConfig classifier_with(Pool pool) {
  ClassifierConfig config;
  config.image_size = 16;
  config.num_classes = 40;
  config.model_channels = 64;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.pool = pool;
  return config;
}

struct Moments {
  double mean = 0, deviation = 0, low = 0, high = 0;
};

Moments moments(const std::vector<double>& v) {
  Moments m;
  const auto n = static_cast<double>(v.size());
  m.mean = std::accumulate(v.begin(), v.end(), 0.0) / n;
  for (const double x : v) m.deviation += (x - m.mean) * (x - m.mean) / n;
  m.deviation = std::sqrt(m.deviation);
  m.low = *std::min_element(v.begin(), v.end());
  m.high = *std::max_element(v.begin(), v.end());
  return m;
}

bool ends(const std::string& key, std::initializer_list<const char*> layers) {
  return std::any_of(layers.begin(), layers.end(), [&](const char* layer) {
    return key.ends_with(std::string(layer) + ".weight") ||
           key.ends_with(std::string(layer) + ".bias");
  });
}

// What PyTorch's constructors do, by the name: `zeroed` and `norms` are the network's own layers on
// top of those that every block has.
void expect_initialised(const ParameterList& list, const std::string& zeroed,
                        const std::string& norm) {
  double fan_in = 0;  // a bias follows its weight
  for (const Parameter& p : list.all()) {
    SCOPED_TRACE(p.key);
    const std::vector<double> values = doubles(p.value);
    const auto n = static_cast<double>(values.size());
    const Moments m = moments(values);
    if (p.key.ends_with("weight"))
      fan_in = static_cast<double>(std::accumulate(p.file_shape.begin() + 1, p.file_shape.end(),
                                                   std::int64_t{1}, std::multiplies<>()));
    if (ends(p.key, {".in_layers.0", ".out_layers.0", ".norm"}) || ends(p.key, {norm.c_str()})) {
      const double expected = p.key.ends_with("weight") ? 1 : 0;
      EXPECT_EQ(m.low, expected);
      EXPECT_EQ(m.high, expected);
    } else if (ends(p.key, {".out_layers.3", ".proj_out"}) ||
               (!zeroed.empty() && ends(p.key, {zeroed.c_str()}))) {
      EXPECT_EQ(m.low, 0);
      EXPECT_EQ(m.high, 0);
    } else if (p.key == "label_emb.weight" || p.key.ends_with("positional_embedding")) {
      // Its columns are positions; [C,T] in the file.
      const double deviation =
          p.key == "label_emb.weight" ? 1 : 1 / std::sqrt(static_cast<double>(p.file_shape[0]));
      EXPECT_NEAR(m.deviation, deviation, 4 * deviation / std::sqrt(2 * n));
      EXPECT_NEAR(m.mean, 0, 4 * deviation / std::sqrt(n));
      EXPECT_GT(m.high, 2.5 * deviation);  // a normal's tail, not a uniform's bound
    } else {
      const double bound = (1 + 1e-7) / std::sqrt(fan_in);  // rounded to f32
      EXPECT_LE(m.high, bound);
      EXPECT_GE(m.low, -bound);
      EXPECT_NEAR(m.mean, 0, 4.5 * bound / std::sqrt(3 * n));
      if (n >= 32) {
        EXPECT_GT(m.high, 0.8 * bound);
        EXPECT_NEAR(m.deviation, bound / std::sqrt(3.0), 2.5 * bound / std::sqrt(5 * n));
      }
    }
  }
}

TEST(Create, DistributionsArePyTorchs) {
  for (const bool updown : {false, true}) {
    const UNet network(unet_with(updown), *create_parameters(7));
    EXPECT_EQ(network.parameters().find("input_blocks.2.0.op.weight") != nullptr, !updown);
    expect_initialised(network.parameters(), "out.2", "out.0");
  }
  const auto check = [](Pool pool, const char* zeroed, const char* norm) {
    SCOPED_TRACE(name(pool));
    const Classifier network(classifier_with(pool), *create_parameters(8));
    expect_initialised(network.parameters(), zeroed, norm);
  };
  check(Pool::attention, "", "out.0");
  check(Pool::adaptive, "out.3", "out.0");
  check(Pool::spatial, "", "none");
  check(Pool::spatial_v2, "", "out.1");
}

TEST(Create, ASeedIsANetwork) {
  const UNetConfig config = unet_with(true);
  const UNet a(config, *create_parameters(1)), again(config, *create_parameters(1)),
      b(config, *create_parameters(2)), wide(config, *create_parameters(1, DType::f64));
  std::set<double> firsts;
  std::size_t random = 0;
  for (std::size_t i = 0; i < a.parameters().all().size(); ++i) {
    const Parameter& p = a.parameters().all()[i];
    const std::vector<double> values = doubles(p.value);
    EXPECT_EQ(values, doubles(again.parameters().all()[i].value)) << p.key;
    EXPECT_EQ(values, doubles(wide.parameters().all()[i].value)) << p.key;
    const Moments m = moments(values);
    if (m.low == m.high) continue;  // zeros or ones
    EXPECT_NE(values, doubles(b.parameters().all()[i].value)) << p.key;
    firsts.insert(values.front());
    ++random;
  }
  EXPECT_EQ(firsts.size(), random);  // no two parameters draw the same numbers
  EXPECT_GT(random, 20u);
}

// A network from scratch predicts zero and its classifier is undecided: the zeroed layers.
TEST(Create, StartsAtZero) {
  const Tensor x = randn({1, 16, 16, 3}, DType::f32, 3);
  const Tensor t = Tensor::from(std::vector<float>{500}, {1});
  const Tensor y = Tensor::from(std::vector<std::int64_t>{3}, {1});
  const UNet network(unet_with(true), *create_parameters(1));
  for (const double v : doubles(network(x, t, y).value())) EXPECT_EQ(v, 0);
  const Classifier classifier(classifier_with(Pool::adaptive), *create_parameters(1));
  for (const double v : doubles(classifier(x, t).value())) EXPECT_EQ(v, 0);
}

// Tests need the opposite: no layer that is zero, so that none can hide a mistake.
TEST(Create, RandomizedParametersAreNeverConstant) {
  for (const bool updown : {false, true}) {
    const UNet network(unet_with(updown), *randomize_parameters(1));
    for (const Parameter& p : network.parameters().all()) {
      const Moments m = moments(doubles(p.value));
      EXPECT_LT(m.low, m.high) << p.key;
      EXPECT_GT(m.deviation, 1e-3) << p.key;
    }
  }
}

TEST(Create, ListedParametersHaveShapesOnly) {
  const UNet network(unet_with(true), *list_parameters());
  for (const Parameter& p : network.parameters().all()) {
    EXPECT_EQ(p.value.device(), kMeta);
    EXPECT_EQ(p.value.raw(), nullptr);
  }
}

}  // namespace
}  // namespace tiller::test
