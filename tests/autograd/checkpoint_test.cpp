// Blocks that are run again in the backward instead of being remembered.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/autograd/trace.h"
#include "tests/kernels/helpers.h"

namespace tiller {
namespace {

using test::doubles;
using test::Ran;
using test::randn;

// A block with a captured leaf, dropout, and two inputs of which one may be absent.
struct Setting {
  Tensor x = randn({2, 4, 4, 32}, DType::f32, 1);
  Tensor w = randn({32, 3, 3, 32}, DType::f32, 2, 0.1);
  Tensor bias = randn({32}, DType::f32, 3);
  Tensor dy = randn({2, 4, 4, 32}, DType::f32, 4);

  Var block(const std::vector<Var>& in) const {
    Var h = conv2d(silu(in[0]), w, bias, {.geometry = {1, 1}}).x;
    h = dropout(h, 0.4, {.seed = 3, .stream = RandomStream::dropout}, 1);
    if (in[1]) h = mul(h, in[1]);
    return add(h, in[0]);
  }
};

struct Result {
  std::vector<double> y, dx, dw, dbias;
  std::size_t saved_bytes = 0;
  std::ptrdiff_t convolutions = 0;
  friend bool operator==(const Result& a, const Result& b) {
    return a.y == b.y && a.dx == b.dx && a.dw == b.dw && a.dbias == b.dbias;
  }
};

// Two blocks in a row, the weight shared by both.
Result run(const Setting& s, bool checkpointed) {
  Result result;
  Tape tape;
  tape.watch(s.w, "w");
  tape.watch(s.bias, "bias");
  tape.watch(s.x, "x");
  Var y;
  const Ran ran;
  {
    const TapeGuard guard(tape);
    const auto once = [&](const std::vector<Var>& in) {
      if (!checkpointed) return s.block(in);
      return checkpoint([&s](const std::vector<Var>& v) { return s.block(v); }, in);
    };
    y = once({once({s.x, Var()}), exp(s.x)});
  }
  result.saved_bytes = tape.saved_bytes();
  Gradients gradients;
  tape.backward(y, s.dy, gradients);
  result.y = doubles(y.value());
  result.dx = doubles(gradients.of(s.x));
  result.dw = doubles(gradients.of(s.w));
  result.dbias = doubles(gradients.of(s.bias));
  result.convolutions = ran.count("conv2d_fwd");
  return result;
}

TEST(Checkpoint, ChangesMemoryAndNoBit) {
  const Setting s;
  const Result plain = run(s, false), again = run(s, true);
  EXPECT_TRUE(plain == again);
  EXPECT_LT(again.saved_bytes, plain.saved_bytes);
  EXPECT_EQ(plain.convolutions, 2);
  EXPECT_EQ(again.convolutions, 4);
}

TEST(Checkpoint, TheSecondRunIsAPhaseOfItsOwn) {
  const Setting s;
  Tape tape;
  tape.watch(s.x);
  Var y;
  {
    const TapeGuard guard(tape);
    y = checkpoint([&s](const std::vector<Var>& v) { return s.block(v); }, {s.x, Var()});
  }
  ASSERT_EQ(tape.nodes().size(), 1u);
  EXPECT_STREQ(tape.nodes().front().op, "checkpoint");
  const Ran ran;
  Gradients gradients;
  tape.backward(y, s.dy, gradients);
  std::ptrdiff_t recomputed = 0;
  for (const Ran::Event& event : ran.events) {
    if (event.op == "conv2d_fwd") {
      EXPECT_EQ(event.phase, "recompute");
    }
    recomputed += event.phase == "recompute";
  }
  EXPECT_GT(recomputed, 2);
  EXPECT_EQ(ran.count("wgrad"), 0);  // the weight is no leaf here
}

TEST(Checkpoint, WithoutATapeItIsACall) {
  const Setting s;
  const auto block = [&s](const std::vector<Var>& v) { return s.block(v); };
  EXPECT_EQ(doubles(checkpoint(block, {s.x, Var()}).value()),
            doubles(s.block({s.x, Var()}).value()));
}

// Nothing needs a gradient: nothing is recorded. A captured leaf alone is enough.
TEST(Checkpoint, IsRecordedOnlyWhereALeafIsUsed) {
  const Setting s;
  const auto block = [&s](const std::vector<Var>& v) { return s.block(v); };
  Tape tape;
  tape.watch(randn({3}, DType::f32, 9));
  {
    const TapeGuard guard(tape);
    EXPECT_FALSE(checkpoint(block, {s.x, Var()}).needs_grad());
    EXPECT_TRUE(tape.nodes().empty());
  }
  tape.watch(s.w, "w");
  Var y;
  {
    const TapeGuard guard(tape);
    y = checkpoint(block, {s.x, Var()});
  }
  Gradients gradients;
  tape.backward(y, s.dy, gradients);
  EXPECT_GT(test::relative_error(gradients.of(s.w), fill(s.w.shape(), DType::f32, kCpu, 0)), 0);
  EXPECT_EQ(gradients.all().size(), 1u);
}

// The same tensor given twice, and used as a constant besides: three roles, not one.
TEST(Checkpoint, KeepsTheRolesOfOneTensorApart) {
  const Tensor x = randn({4}, DType::f64, 1), c = randn({4}, DType::f64, 2);
  Tape tape;
  tape.watch(x);
  Var y;
  {
    const TapeGuard guard(tape);
    const Var h = exp(x);
    const Tensor frozen = h.value();  // as a constant
    y = checkpoint(
        [frozen](const std::vector<Var>& in) { return mul(mul(in[0], in[1]), Var(frozen)); },
        {h, h});
  }
  Gradients gradients;
  tape.backward(y, {}, gradients);
  const std::vector<double> got = doubles(gradients.of(x));
  for (std::size_t i = 0; i < 4; ++i) {
    const double e = std::exp(doubles(x)[i]);
    EXPECT_NEAR(got[i], 2 * e * e * e, 1e-12 * e * e * e);  // d(h h c)/dh = 2 h c, c = h
  }
}

TEST(Checkpoint, ACapturedIntermediateIsAnError) {
  const Tensor x = randn({4}, DType::f64, 1);
  Tape tape;
  tape.watch(x);
  std::string message = "no error";
  try {
    const TapeGuard guard(tape);
    const Var captured = exp(x);
    const Var y =
        checkpoint([captured](const std::vector<Var>& in) { return mul(in[0], captured); }, {x});
    Gradients gradients;
    tape.backward(y, {}, gradients);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("hand it to checkpoint() as an input"), std::string::npos) << message;
}

}  // namespace
}  // namespace tiller
