// What networks that are not trained keep in memory: nothing of the file's matrices.
#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

Network load_frozen(const Case& c, FrozenWeights weights) {
  const auto source =
      freeze_parameters(Checkpoint::open(find_reference(c.checkpoint).value()), weights);
  Network network;
  if (c.is_classifier)
    network.classifier = std::make_unique<Classifier>(c.classifier, *source);
  else
    network.unet = std::make_unique<UNet>(c.unet, *source);
  return network;
}

Inputs inputs_of(const Case& c) {
  return read_inputs(NpzReader::open(find_reference(c.name + ".npz").value()));
}

// What a sampler asks: the UNet's output, or the classifier's gradient.
Tensor evaluate(const Network& network, const Inputs& in) {
  const NoGrad no_recording;
  if (network.classifier) return network.classifier->log_prob_gradient(in.x, in.t, in.y);
  return network(in.x, in).value();
}

std::size_t live() { return backend(kCpu).memory().live; }

class Frozen : public ::testing::TestWithParam<const char*> {
 protected:
  const Case c = find_case(GetParam()).value();
  const Inputs in = inputs_of(c);
};

TEST_P(Frozen, KeepsNoWeightInMemory) {
  // Vectors, and the tables that are looked up rather than multiplied by.
  const std::size_t before = live();
  const Network network = load_frozen(c, FrozenWeights::as_stored);
  evaluate(network, in);
  evaluate(network, in);
  const std::size_t kept = live() - before, bytes = network.parameters().bytes();
  EXPECT_LT(kept, bytes / 8) << "of " << bytes;
  for (const Parameter& p : network.parameters().all()) {
    if (p.layout != FileLayout::oihw && p.layout != FileLayout::conv1d) continue;
    EXPECT_FALSE(p.value.storage()->resident()) << p.key;
    EXPECT_EQ(p.value.storage()->derived_bytes(), 0u) << p.key;
  }
}

// That the measure above can fail: a network that may be trained keeps all of it, and packed forms.
TEST_P(Frozen, UnlikeOneThatIsTrained) {
  const std::size_t before = live();
  const Network network = load(c);
  evaluate(network, in);
  EXPECT_GT(live() - before, network.parameters().bytes() * 3 / 2);
}

TEST_P(Frozen, HalfTheMemoryInBf16) {
  const std::size_t before = live();
  const Network network = load_frozen(c, FrozenWeights::bf16);
  evaluate(network, in);
  const auto kept = static_cast<double>(live() - before);
  const auto bytes = static_cast<double>(network.parameters().bytes());
  EXPECT_LT(kept, 0.65 * bytes);
  EXPECT_GT(kept, 0.45 * bytes);
}

TEST_P(Frozen, ComputesTheSame) {
  const Tensor want = evaluate(load(c), in);
  EXPECT_LE(relative_error(evaluate(load_frozen(c, FrozenWeights::as_stored), in), want), 1e-5);
  // A rounding of 2^-9 in every weight; none at all would be as wrong as too much.
  const double rounded = relative_error(evaluate(load_frozen(c, FrozenWeights::bf16), in), want);
  EXPECT_LE(rounded, 2e-2);
  EXPECT_GE(rounded, 1e-4);
}

// Whoever asks for the bytes gets those of a copy, and may give them back.
TEST_P(Frozen, ValuesAreThoseOfTheFile) {
  const Network copied = load(c), network = load_frozen(c, FrozenWeights::as_stored);
  evaluate(network, in);
  ASSERT_EQ(network.parameters().all().size(), copied.parameters().all().size());
  for (std::size_t i = 0; i < copied.parameters().all().size(); ++i) {
    const Parameter &p = network.parameters().all()[i], &q = copied.parameters().all()[i];
    EXPECT_EQ(p.value.shape(), q.value.shape());
    EXPECT_TRUE(doubles(p.value) == doubles(q.value)) << p.key;
    p.value.storage()->release();
    EXPECT_TRUE(doubles(p.value) == doubles(q.value)) << p.key;
  }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Frozen, ::testing::Values("unet_cond", "classifier_attention"),
                         [](const auto& info) { return std::string(info.param); });

TEST(FrozenList, HasTheShapesOfTheOther) {
  const UNetConfig config = find_case("unet_cond")->unet;
  const UNet one(config, *list_parameters()), other(config, *list_frozen_parameters());
  ASSERT_EQ(one.parameters().all().size(), other.parameters().all().size());
  for (std::size_t i = 0; i < one.parameters().all().size(); ++i)
    EXPECT_EQ(one.parameters().all()[i].value.shape(), other.parameters().all()[i].value.shape());
  EXPECT_EQ(one.parameters().bytes(), other.parameters().bytes());
}

}  // namespace
}  // namespace tiller::test
