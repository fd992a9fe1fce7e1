// The gradient by the input alone: the thesis of the project in miniature. A convolution keeps its
// weight and nothing else, and no weight gradient runs.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/autograd/trace.h"
#include "tests/kernels/helpers.h"

namespace tiller {
namespace {

using test::doubles;
using test::Ran;
using test::randn;

// A residual block in small: norms, convolutions with every source, attention, a linear layer.
struct Block {
  Tensor x = randn({2, 4, 4, 32}, DType::f32, 1);
  Tensor skip = randn({2, 4, 4, 32}, DType::f32, 2);
  Tensor gamma = randn({64}, DType::f32, 3), beta = randn({64}, DType::f32, 4);
  Tensor w1 = randn({32, 3, 3, 64}, DType::f32, 5, 0.05), bias1 = randn({32}, DType::f32, 6);
  Tensor w2 = randn({32, 3, 3, 32}, DType::f32, 11, 0.1);
  Tensor skip_w = randn({32, 1, 1, 64}, DType::f32, 7, 0.1), skip_b = randn({32}, DType::f32, 8);
  Tensor qkv_w = randn({96, 32}, DType::f32, 9, 0.1), qkv_b = randn({96}, DType::f32, 10);

  Var operator()(const Var& in) const {
    const Var a =
        group_norm(Activation(in), Activation(skip), gamma, beta, {.emb = {}, .silu = true});
    const Var b =
        conv2d(
            a, w1, bias1,
            {.geometry = {1, 1}, .skip0 = in, .skip1 = skip, .skip_w = skip_w, .skip_bias = skip_b})
            .x;
    const Var qkv = linear(reshape(b, {2, 16, 32}), qkv_w, qkv_b);
    const Var mixed = reshape(attention(qkv, 2, QkvOrder::legacy), {2, 4, 4, 32});
    return conv2d(silu(mixed), w2, bias1, {.geometry = {1, 1}, .residual = b}).x;
  }
  std::vector<Tensor> parameters() const {
    return {gamma, beta, w1, w2, bias1, skip_w, skip_b, qkv_w, qkv_b};
  }
};

TEST(InputGradient, EqualsTheFullBackwardBitForBit) {
  const Block block;
  const Tensor dx = input_gradient([&](const Var& x) { return reduce_sum(block(x)); }, block.x);
  Tape tape;
  for (const Tensor& p : block.parameters()) tape.watch(p);
  tape.watch(block.x, "x");
  Gradients gradients;
  Var y;
  {
    const TapeGuard guard(tape);
    y = reduce_sum(block(block.x));
  }
  const Ran ran;
  tape.backward(y, {}, gradients);
  EXPECT_GT(ran.count("wgrad"), 0);  // the full backward does run them
  EXPECT_EQ(doubles(dx), doubles(gradients.of(block.x)));
  EXPECT_EQ(gradients.all().size(), 10u);
}

TEST(InputGradient, RunsNoWeightGradient) {
  const Block block;
  const Ran ran;
  input_gradient([&](const Var& x) { return reduce_sum(block(x)); }, block.x);
  EXPECT_EQ(ran.count("wgrad"), 0);
  EXPECT_EQ(ran.count("conv2d_fwd"), 2);
  // One per convolution's input, and one for the 1x1 operand.
  EXPECT_EQ(ran.count("conv2d_dgrad"), 3);
  EXPECT_EQ(ran.count("linear_dgrad"), 1);
  for (const Ran::Event& event : ran.events)  // nor the sum that a bias' gradient is
    EXPECT_FALSE(event.op == "reduce" && event.phase == "backward");
}

TEST(InputGradient, AConvolutionSavesNoActivation) {
  const Block block;
  Tape tape;
  tape.watch(block.x, "x");
  const TapeGuard guard(tape);
  const Var y = block(block.x);
  int convolutions = 0;
  for (const NodeInfo& node : tape.nodes()) {
    if (std::string(node.op) != "conv2d" && std::string(node.op) != "linear") continue;
    ++convolutions;
    EXPECT_EQ(node.saved_bytes, 0u) << node.op;  // the weights are the block's
    for (const std::string& text : node.saved_text)
      EXPECT_NE(text.find("(constant)"), std::string::npos) << text << " is no weight";
  }
  EXPECT_EQ(convolutions, 3);
}

TEST(InputGradient, GivesTheValueToo) {
  const Tensor x = randn({3}, DType::f64, 1);
  Tensor value;
  const Tensor dx = input_gradient([](const Var& v) { return reduce_sum(square(v)); }, x, &value);
  double sum = 0;
  for (const double v : doubles(x)) sum += v * v;
  EXPECT_NEAR(doubles(value).front(), sum, 1e-12);
  EXPECT_NEAR(doubles(dx)[1], 2 * doubles(x)[1], 1e-12);
  EXPECT_THROW(input_gradient([&](const Var&) { return Var(x); }, randn({3}, DType::f64, 2)),
               Error);  // does not depend on its input
}

// Guidance begins behind the loss: its gradient by the logits is what the recorded loss would give.
TEST(InputGradient, BeginsWhereASeedIsGiven) {
  const Tensor x = randn({3, 5}, DType::f64, 1);
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{4, 0, 2}, {3});
  const auto logits = [](const Var& v) { return square(v); };
  const Tensor recorded = input_gradient(
      [&](const Var& v) { return affine(reduce_sum(cross_entropy(logits(v), labels)), -1, 0); }, x);
  Tensor seen;
  const Tensor seeded = input_gradient(logits, x, [&](const Tensor& y) {
    seen = y;
    return log_likelihood_gradient(y, labels);
  });
  EXPECT_EQ(doubles(seeded), doubles(recorded));
  EXPECT_EQ(doubles(seen), doubles(square(x).value()));
  EXPECT_THROW(log_likelihood_gradient(x, Tensor::from(std::vector<std::int64_t>{5, 0, 2}, {3})),
               Error);
}

// What has gathered so far is handed to the operation that asks, once, and not for leaves.
TEST(InputGradient, GatheredGradientsAreHandedOver) {
  const Tensor x = randn({4}, DType::f64, 1);
  int handed = 0;
  const auto twice = [&](const Var& v) {  // 2 v, whose backward adds what has gathered itself
    return record("twice", {v}, affine(v.value(), 2, 0).value(), {},
                  [&](const Saved&, const Tensor& dy, Needs) {
                    const Tensor rest = Tape::take_gathered(0);
                    const Tensor dx = affine(dy, 2, 0).value();
                    if (!rest) return Grads{dx};
                    ++handed;
                    EXPECT_FALSE(Tape::take_gathered(0)) << "once";
                    return Grads{add(dx, rest).value()};
                  });
  };
  EXPECT_THROW(Tape::take_gathered(0), Error) << "no backward is running";
  // As in a residual block: the skip's gradient is there before the branch's.
  const Tensor dx = input_gradient(
      [&](const Var& v) {
        const Var h = square(v);
        const Var branch = twice(h);
        return reduce_sum(add(branch, affine(h, 3, 0)));
      },
      x);
  EXPECT_EQ(handed, 1);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(doubles(dx)[i], 10 * doubles(x)[i], 1e-12);
  input_gradient(
      [&](const Var& v) {
        const Var branch = twice(v);
        return reduce_sum(add(branch, affine(v, 3, 0)));
      },
      x);
  EXPECT_EQ(handed, 1) << "a leaf's gradient is the sink's";
}

// A residual block's way back: the skip's gradient is taken along by the group norm, also where the
// norm has a second source, and not where both sources are one value.
TEST(InputGradient, GroupNormTakesTheSkipAlong) {
  const Shape shape{2, 3, 3, 8};
  const Tensor x = randn(shape, DType::f64, 1), w = randn(shape, DType::f64, 4);
  const Var gamma(randn({16}, DType::f64, 2)), beta(randn({16}, DType::f64, 3));
  struct Described final : TraceSink {
    void on_op(const OpEvent& event) override {
      if (event.op == std::string("group_norm_bwd"))
        added += event.shape.find(", added") != std::string::npos;
    }
    int added = 0;
  } described;
  const TraceGuard guard(described, TraceLevel::ops);
  const auto norm = [&](const Var& a, const Var& b) {
    return group_norm(Activation(a), Activation(b), Var(gamma.value()), Var(beta.value()),
                      {.groups = 4, .silu = true});
  };
  const auto sum = [&](const Var& h, const Var& skip) {
    return add(reduce_sum(square(h)), reduce_sum(mul(skip, Var(w))));
  };
  // h = 2 x, so that it is no leaf; the second source is constant, or h itself.
  for (const bool itself : {false, true}) {
    const auto f = [&](const Var& v) {
      const Var h = affine(v, 2, 0);
      const Var branch = norm(h, itself ? h : Var(w));
      return sum(branch, h);
    };
    const Tensor dx = input_gradient(f, x);
    const Tensor branch = input_gradient(
        [&](const Var& v) {
          const Var h = affine(v, 2, 0);
          return reduce_sum(square(norm(h, itself ? h : Var(w))));
        },
        x);
    for (std::size_t i = 0; i < doubles(x).size(); ++i)
      EXPECT_NEAR(doubles(dx)[i], doubles(branch)[i] + 2 * doubles(w)[i], 1e-10) << i;
    EXPECT_EQ(described.added, 1) << (itself ? "both sources are one value" : "one source");
  }
}

// An input gradient inside of somebody else's recording leaves that recording alone.
TEST(InputGradient, NestsInsideARecording) {
  const Tensor x = randn({3}, DType::f64, 1);
  Tape tape;
  tape.watch(x);
  Var y;
  Tensor inner;
  {
    const TapeGuard guard(tape);
    const Var half = affine(x, 0.5, 0);
    inner = input_gradient([](const Var& v) { return reduce_sum(exp(v)); }, half.value());
    y = mul(half, Var(inner));
  }
  EXPECT_EQ(tape.nodes().size(), 2u);
  Gradients gradients;
  tape.backward(y, {}, gradients);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(doubles(gradients.of(x))[i], 0.5 * doubles(inner)[i], 1e-12);
}

}  // namespace
}  // namespace tiller
