// What only training needs: dropout that replays, and blocks that are run again in the backward.
#include <map>

#include "nn/module.h"
#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

UNetConfig config_with(double dropout, bool use_checkpoint) {
  UNetConfig config;
  config.image_size = 8;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.num_head_channels = 16;
  config.num_classes = 5;
  config.resblock_updown = true;
  config.dropout = dropout;
  config.use_checkpoint = use_checkpoint;
  return config;
}

Inputs batch() {
  return {randn({2, 8, 8, 3}, DType::f32, 1),
          Tensor::from(std::vector<float>{10, 700.5}, {2}),
          Tensor::from(std::vector<std::int64_t>{4, 0}, {2}),
          {}};
}

Network unet(const UNetConfig& config) {
  Network network;
  network.unet = std::make_unique<UNet>(config, *randomize_parameters(5));
  return network;
}

RandomKey key_of(std::uint32_t step, std::uint32_t sample = 0) {
  return {.seed = 9, .sample = sample, .step = step, .stream = RandomStream::dropout};
}

std::vector<double> output(const Network& network, const Inputs& in, bool training,
                           const RandomKey& key) {
  const ForwardOptionsGuard guard({training, key});
  return doubles(network(in.x, in).value());
}

TEST(Training, DropoutReplaysFromItsKey) {
  const Network network = unet(config_with(0.3, false));
  const Inputs in = batch();
  const std::vector<double> trained = output(network, in, true, key_of(1));
  EXPECT_EQ(trained, output(network, in, true, key_of(1)));
  EXPECT_NE(trained, output(network, in, true, key_of(2)));
  // Sampling knows no dropout, whatever the key.
  const std::vector<double> sampled = output(network, in, false, key_of(1));
  EXPECT_NE(trained, sampled);
  EXPECT_EQ(sampled, doubles(network(in.x, in).value()));
  EXPECT_EQ(sampled, output(unet(config_with(0, false)), in, true, key_of(1)));
}

// A sample's mask depends on its index, not on who else is in the batch.
TEST(Training, DropoutIsTheSamplesOwn) {
  const Network network = unet(config_with(0.3, false));
  const Inputs in = batch();
  const ForwardOptionsGuard both({true, key_of(1, 20)});
  const Tensor all = network(in.x, in).value();
  const ForwardOptionsGuard second({true, key_of(1, 21)});
  const Inputs one{in.x.slice(1, 2), in.t.slice(1, 2), in.y.slice(1, 2), {}};
  EXPECT_LE(relative_error(network(one.x, one).value(), all.slice(1, 2)), 1e-6);
}

// Each layer draws its own mask: with one mask for all, whole channels would die together.
TEST(Training, EveryResidualBlockDropsInALayerOfItsOwn) {
  class Layers final : public TraceSink {
   public:
    void on_op(const OpEvent& event) override {
      if (std::string(event.op) != "dropout_fwd") return;
      ++calls;
      shapes.insert(event.shape);
    }
    int calls = 0;
    std::set<std::string> shapes;
  } layers;
  const Network network = unet(config_with(0.3, false));
  const Inputs in = batch();
  const ForwardOptionsGuard training({true, key_of(1)});
  const TraceGuard trace(layers, TraceLevel::ops);
  network(in.x, in);
  EXPECT_EQ(layers.calls, 2 + 1 + 2 + 4 + 1);  // input, down, middle, output blocks, up
  EXPECT_EQ(layers.shapes.size(), 10u);        // the layer's number is in the description
}

struct Trained {
  std::vector<double> out;
  std::map<std::string, std::vector<double>> gradients;
  std::size_t saved_bytes = 0;
};

template <class Net>
Trained train(const Net& network, const ParameterList& parameters, const Inputs& in,
              const std::function<Var(const Net&, const Var&)>& forward) {
  Trained result;
  Tape tape;
  Gradients gradients;
  for (const Parameter& p : parameters.all()) tape.watch(p.value, p.key);
  tape.watch(in.x, "x");
  const ForwardOptionsGuard options({true, key_of(3)});
  Var out;
  {
    const TapeGuard guard(tape);
    out = forward(network, in.x);
  }
  result.out = doubles(out.value());
  result.saved_bytes = tape.saved_bytes();
  // The options of the forward must hold in the backward, whatever is current there.
  const ForwardOptionsGuard elsewhere({false, {}});
  tape.backward(out, randn(out.shape(), DType::f32, 4), gradients);
  for (const auto& [leaf, gradient] : gradients.all())
    result.gradients[leaf.name] = doubles(gradient);
  EXPECT_EQ(result.gradients.size(), parameters.all().size() + 1);
  return result;
}

void expect_same(const Trained& plain, const Trained& again) {
  EXPECT_TRUE(plain.out == again.out);
  for (const auto& [name, gradient] : plain.gradients)
    EXPECT_TRUE(gradient == again.gradients.at(name)) << name;
  EXPECT_LT(again.saved_bytes, plain.saved_bytes / 2);
}

TEST(Training, CheckpointingChangesNoBitOfAnyGradient) {
  const Inputs in = batch();
  const auto run = [&](bool use_checkpoint) {
    const Network network = unet(config_with(0.3, use_checkpoint));
    return train<UNet>(*network.unet, network.parameters(), in,
                       [&](const UNet& net, const Var& x) { return net(x, in.t, in.y); });
  };
  expect_same(run(false), run(true));
}

TEST(Training, CheckpointingChangesNoBitOfAClassifier) {
  const Inputs in = batch();
  const auto run = [&](bool use_checkpoint) {
    ClassifierConfig config;
    config.image_size = 8;
    config.num_classes = 5;
    config.model_channels = 32;
    config.num_res_blocks = 1;
    config.channel_mult = {1, 2};
    config.attention_downsample = {2};
    config.num_head_channels = 32;
    config.dropout = 0.2;
    config.use_checkpoint = use_checkpoint;
    const Classifier network(config, *randomize_parameters(6));
    return train<Classifier>(network, network.parameters(), in,
                             [&](const Classifier& net, const Var& x) { return net(x, in.t); });
  };
  expect_same(run(false), run(true));
}

// The decoder's attention may have more heads than the encoder's.
TEST(Training, NumHeadsUpsampleCountsInTheDecoderOnly) {
  class Heads final : public TraceSink {
   public:
    void on_op(const OpEvent& event) override {
      if (std::string(event.op) != "attention_fwd") return;
      const std::size_t at = event.shape.find("heads=") + 6;
      heads[event.module.substr(0, event.module.find('.'))].insert(
          std::stoi(event.shape.substr(at)));
    }
    std::map<std::string, std::set<int>> heads;
  };
  const auto heads_of = [](std::int64_t upsample, std::int64_t width) {
    UNetConfig config = config_with(0, false);
    config.num_head_channels = width;
    config.num_heads = 2;
    config.num_heads_upsample = upsample;
    const UNet network(config, *list_parameters());
    Heads sink;
    const TraceGuard guard(sink, TraceLevel::ops);
    network(Tensor::empty({1, 8, 8, 3}, DType::f32, kMeta), Tensor::empty({1}, DType::f32, kMeta),
            Tensor::empty({1}, DType::i64, kMeta));
    return sink.heads;
  };
  using Expected = std::map<std::string, std::set<int>>;
  EXPECT_EQ(heads_of(8, -1),
            (Expected{{"input_blocks", {2}}, {"middle_block", {2}}, {"output_blocks", {8}}}));
  EXPECT_EQ(heads_of(-1, -1),
            (Expected{{"input_blocks", {2}}, {"middle_block", {2}}, {"output_blocks", {2}}}));
  // As in guided-diffusion, a head's width rules out both counts.
  EXPECT_EQ(heads_of(8, 16),
            (Expected{{"input_blocks", {4}}, {"middle_block", {4}}, {"output_blocks", {4}}}));
}

}  // namespace
}  // namespace tiller::test
