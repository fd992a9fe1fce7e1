// A linear layer behind a group norm: one call where only x's gradient is asked for, with the bits of
// the two; two calls elsewhere.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/autograd/trace.h"
#include "tests/kernels/helpers.h"

namespace tiller {
namespace {

using test::gpu;
using test::Ran;
using test::randn;

std::vector<double> doubles(const Tensor& t) { return test::doubles(t.to(kCpu)); }
double relative_error(const Tensor& a, const Tensor& b) {
  return test::relative_error(a.to(kCpu), b.to(kCpu));
}

// An attention block in small, its residual included, on maps of 8x8.
struct Block {
  explicit Block(DType dtype)
      : x(randn({3, 8, 8, 64}, dtype, 1).to(gpu())), w(parameter({192, 64}, 2, 0.1)) {}
  static Tensor parameter(const Shape& shape, unsigned seed, double scale = 1) {
    return randn(shape, DType::f32, seed, scale).to(gpu());
  }
  Tensor x, w;
  Tensor gamma = parameter({64}, 3), beta = parameter({64}, 4), bias = parameter({192}, 5);
  Tensor start_w = parameter({64, 1, 1, 64}, 6, 0.1), out_w = parameter({64, 64}, 7, 0.1);

  enum class How { fused, apart, unready };
  Var operator()(const Var& in, How how) const {
    // A convolution gives x statistics, and keeps it from being a leaf.
    const Activation h = conv2d(in, start_w, {}, {.stats = true});
    const Activation ready{reshape(h.x, {3, 64, 64}), how == How::unready ? Tensor() : h.stats};
    const Var qkv = how == How::apart ? linear(group_norm(ready, gamma, beta), w, bias)
                                      : normed_linear(ready, gamma, beta, w, bias);
    return linear(attention(qkv, 1, QkvOrder::legacy), out_w, {}, ready.x);
  }
  Tensor gradient(How how, Tensor* value) const {
    return input_gradient(
        [&](const Var& v) {
          const Var y = (*this)(v, how);
          *value = y.value();
          return reduce_sum(square(cast(y, DType::f32)));
        },
        x);
  }
};

class NormedLinear : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(gpu())) GTEST_SKIP() << test::no_gpu();
  }
};

TEST_F(NormedLinear, IsOneCallWithTheBitsOfTwo) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    SCOPED_TRACE(name(dtype));
    const Block block(dtype);
    Tensor value, fused_value;
    const Tensor apart = block.gradient(Block::How::apart, &value);
    const Ran ran;
    const Tensor fused = block.gradient(Block::How::fused, &fused_value);
    EXPECT_EQ(ran.count("group_norm_fwd"), 0);
    EXPECT_EQ(ran.count("group_norm_bwd"), 1);
    EXPECT_EQ(ran.count("wgrad"), 0);
    EXPECT_EQ(doubles(fused_value), doubles(value));
    EXPECT_EQ(doubles(fused), doubles(apart));
    EXPECT_GT(relative_error(fused, Tensor::zeros(fused.shape(), dtype)), 0);
  }
}

TEST_F(NormedLinear, IsTwoCallsWithoutReadyStatistics) {
  const Block block(DType::f16);
  Tensor value, unready_value;
  const Tensor apart = block.gradient(Block::How::apart, &value);
  const Ran ran;
  const Tensor unready = block.gradient(Block::How::unready, &unready_value);
  EXPECT_EQ(ran.count("group_norm_fwd"), 1);
  EXPECT_LE(relative_error(unready_value, value), 1e-3);
  EXPECT_LE(relative_error(unready, apart), 2e-3);
}

// Any parameter that is watched: the weight's gradient wants the normed x, the norm's own are its
// kernel's.
TEST_F(NormedLinear, IsTwoCallsWhereAParameterNeedsItsGradient) {
  const Block block(DType::f16);
  for (const Tensor& parameter : {block.gamma, block.beta, block.w, block.bias}) {
    Gradients both[2];
    for (const auto how : {Block::How::fused, Block::How::apart}) {
      Tape tape;
      tape.watch(parameter);
      tape.watch(block.x);
      Var y;
      {
        const TapeGuard guard(tape);
        const Ran ran;
        y = reduce_sum(square(cast(block(block.x, how), DType::f32)));
        EXPECT_EQ(ran.count("group_norm_fwd"), 1);
      }
      tape.backward(y, {}, both[how == Block::How::apart]);
    }
    for (const Tensor& leaf : {parameter, block.x})
      EXPECT_EQ(doubles(both[0].of(leaf)), doubles(both[1].of(leaf)));
  }
}

// What is kept for the way back: x, which the block's input is anyway, and the groups' statistics.
TEST_F(NormedLinear, KeepsTheStatistics) {
  const Block block(DType::f16);
  Tape tape;
  tape.watch(block.x);
  const TapeGuard guard(tape);
  block(block.x, Block::How::fused);
  int seen = 0;
  for (const NodeInfo& node : tape.nodes()) {
    if (std::string(node.op) != "normed_linear") continue;
    ++seen;
    EXPECT_EQ(node.saved_bytes, 3u * 64 * 64 * 2 + 3 * 32 * 2 * 4);
  }
  EXPECT_EQ(seen, 1);
}

// On the CPU no row fuses, and nobody notices.
TEST(NormedLinearOnCpu, IsTwoCalls) {
  const Tensor x = randn({2, 4, 4, 8}, DType::f32, 1), w = randn({12, 8}, DType::f32, 2);
  const Tensor gamma = randn({8}, DType::f32, 3), beta = randn({8}, DType::f32, 4);
  const Tensor stats = randn({2, 8, 2}, DType::f32, 5);
  const GroupNormOptions options{.groups = 4, .emb = {}};
  EXPECT_FALSE(fuses_norm({x, stats}, gamma, beta, w, {}, options));
  EXPECT_EQ(doubles(normed_linear(Activation(x), gamma, beta, w, {}, options).value()),
            doubles(linear(group_norm(Activation(x), gamma, beta, options), w, {}).value()));
  EXPECT_THROW(
      normed_linear(Activation(x), gamma, beta, w, {}, {.groups = 4, .emb = {}, .silu = true}),
      Error);
}

}  // namespace
}  // namespace tiller
