// The gradient that guides, and the thesis behind it: only the input's gradient is computed.
#include "tests/autograd/trace.h"
#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

Inputs inputs_of(const char* file) {
  return read_inputs(NpzReader::open(find_reference(file).value()));
}

// d(sum log p)/dx by the tape with everything watched, as training does it.
Tensor full_backward(const Network& network, const Inputs& in, Gradients& gradients) {
  Tape tape;
  for (const Parameter& p : network.parameters().all()) tape.watch(p.value, p.key);
  tape.watch(in.x, "x");
  Var loss;
  {
    const TapeGuard guard(tape);
    loss = affine(reduce_sum(cross_entropy(network(in.x, in), in.y)), -1, 0);
  }
  tape.backward(loss, {}, gradients);
  return gradients.of(in.x);
}

TEST(Guidance, TheInputGradientAloneIsTheFullBackwardsBitForBit) {
  const Network network = load(find_case("classifier_attention").value());
  const Inputs in = inputs_of("classifier_attention.npz");
  Gradients gradients;
  const Ran full;
  const Tensor expected = full_backward(network, in, gradients);
  EXPECT_GT(full.count("wgrad"), 20);
  EXPECT_EQ(gradients.all().size(), network.parameters().all().size() + 1);
  EXPECT_TRUE(doubles(network.classifier->log_prob_gradient(in.x, in.t, in.y)) ==
              doubles(expected));
}

TEST(Guidance, RunsNoWeightGradientAndNothingOfTheEmbedding) {
  const Network network = load(find_case("classifier_attention").value());
  const Inputs in = inputs_of("classifier_attention.npz");
  const Ran ran;
  network.classifier->log_prob_gradient(in.x, in.t, in.y);
  EXPECT_EQ(ran.count("wgrad"), 0);
  // Every convolution goes back once; the 1x1 skip connections, fused on the way, once more.
  EXPECT_GE(ran.count("conv2d_dgrad"), ran.count("conv2d_fwd"));
  EXPECT_EQ(ran.count("attention_bwd"), ran.count("attention_fwd"));
  for (const Ran::Event& event : ran.events) {
    if (event.phase != "backward") continue;
    EXPECT_EQ(event.module.find("emb_layers"), std::string::npos) << event.op;
    EXPECT_EQ(event.module.find("time_embed"), std::string::npos) << event.op;
  }
}

TEST(Guidance, NoConvolutionKeepsAnActivation) {
  const Network network = load(find_case("classifier_attention").value());
  const Inputs in = inputs_of("classifier_attention.npz");
  const auto record_with = [&](bool training, std::size_t& bytes) {
    Tape tape;
    if (training)
      for (const Parameter& p : network.parameters().all()) tape.watch(p.value, p.key);
    tape.watch(in.x, "x");
    const TapeGuard guard(tape);
    network(in.x, in);
    bytes = tape.saved_bytes();
    return tape.nodes();
  };
  std::size_t guided = 0, trained = 0;
  int layers = 0;
  for (const NodeInfo& node : record_with(false, guided))
    if (std::string(node.op) == "conv2d" || std::string(node.op) == "linear") {
      EXPECT_EQ(node.saved_bytes, 0u) << node.module;
      ++layers;
    }
  EXPECT_GT(layers, 20);
  record_with(true, trained);
  EXPECT_LT(3 * guided, 2 * trained);
}

// Backward time has a module: every operation of the backward says whose it is.
TEST(Guidance, TheBackwardKnowsItsModules) {
  const Network network = load(find_case("classifier_attention").value());
  const Inputs in = inputs_of("classifier_attention.npz");
  std::set<std::string> forward, backward;
  {
    const Ran ran;
    network.classifier->log_prob_gradient(in.x, in.t, in.y);
    for (const Ran::Event& event : ran.events)
      if (event.op.starts_with("conv2d"))
        (event.phase == "backward" ? backward : forward).insert(event.module);
  }
  EXPECT_EQ(forward, backward);
  EXPECT_TRUE(backward.contains("input_blocks.1.0.in_layers.2"));
}

TEST(Guidance, LabelsAreChecked) {
  const Network network = load(find_case("classifier_attention").value());
  const Inputs in = inputs_of("classifier_attention.npz");
  const Tensor wrong = Tensor::from(std::vector<std::int64_t>{0, 10, 1}, {3});
  EXPECT_THROW(network.classifier->log_prob_gradient(in.x, in.t, wrong), Error);
  EXPECT_THROW(network.classifier->log_prob_gradient(in.x, in.t, in.y.slice(0, 2)), Error);
}

// The gradient of a loss on the predicted x_0, through the UNet: x_0 = a x_t - b eps(x_t). Doing it
// by hand: dL/dx_t = a g + J^T (-b g) with g = dL/dx_0, J the network's Jacobian.
TEST(Guidance, ALossOnThePredictedStartReachesThePictureThroughTheUNet) {
  const Network network = load(find_case("unet_cond").value());
  const Inputs in = inputs_of("unet_cond.npz");
  const Tensor target = randn(in.x.shape(), DType::f32, 1);
  constexpr double kA = 1.7, kB = 0.9;
  Tensor start;
  const Ran ran;
  const Tensor dx = input_gradient(
      [&](const Var& x) {
        const Var eps = channels(network(x, in), 0, 3);
        const Var x_start = add(x, eps, kA, -kB);
        start = x_start.value();
        return reduce_sum(square(sub(x_start, target)));
      },
      in.x);
  EXPECT_EQ(ran.count("wgrad"), 0);
  const Tensor g = affine(sub(start, target), 2, 0).value();
  Tape tape;
  tape.watch(in.x, "x");
  Var eps;
  {
    const TapeGuard guard(tape);
    eps = channels(network(in.x, in), 0, 3);
  }
  Gradients gradients;
  tape.backward(eps, affine(g, -kB, 0).value(), gradients);
  const Tensor by_hand = add(g, gradients.of(in.x), kA, 1).value();
  EXPECT_LE(relative_error(dx, by_hand), 1e-6);
  EXPECT_GT(relative_error(affine(g, kA, 0).value(), by_hand), 0.01);  // the network has its say
}

}  // namespace
}  // namespace tiller::test
