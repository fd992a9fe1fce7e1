// The tape itself: what it records, what it keeps, when it lets go, and what it refuses.
#include "autograd/tape.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "autograd/ops.h"
#include "tests/autograd/trace.h"
#include "tests/kernels/helpers.h"

namespace tiller {
namespace {

using test::doubles;
using test::Ran;
using test::randn;

Tensor full(const Shape& shape, double value, DType dtype = DType::f64) {
  return fill(shape, dtype, kCpu, value);
}

// f(x) on a tape that watches x: the output, still on the tape.
Var on(Tape& tape, const std::function<Var()>& f) {
  const TapeGuard guard(tape);
  return f();
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

void expect_message(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

TEST(Tape, WithoutATapeNothingIsRecorded) {
  const Tensor x = randn({4}, DType::f64, 1);
  EXPECT_FALSE(Var(x).needs_grad());
  EXPECT_FALSE(exp(x).needs_grad());
  EXPECT_EQ(Tape::current(), nullptr);
}

TEST(Tape, RecordsOnlyWhatNeedsAGradient) {
  const Tensor x = randn({4}, DType::f64, 1), c = randn({4}, DType::f64, 2);
  Tape tape;
  tape.watch(x, "x");
  const TapeGuard guard(tape);
  EXPECT_TRUE(Var(x).needs_grad());  // by its bytes, not by the handle that watch() returned
  EXPECT_FALSE(Var(c).needs_grad());
  EXPECT_FALSE(mul(exp(c), c).needs_grad());
  EXPECT_TRUE(tape.nodes().empty());
  EXPECT_TRUE(mul(x, c).needs_grad());
  ASSERT_EQ(tape.nodes().size(), 1u);
  const NodeInfo node = tape.nodes().front();
  EXPECT_EQ(node.inputs.size(), 2u);
  EXPECT_GE(node.inputs[0], 0);
  EXPECT_EQ(node.inputs[1], -1);  // a constant
  EXPECT_EQ(node.output_text, "f64[4]");
}

TEST(Tape, NoGradRecordsNothingAndEnds) {
  const Tensor x = randn({4}, DType::f64, 1);
  Tape tape;
  tape.watch(x);
  const TapeGuard guard(tape);
  Var hidden;
  {
    const NoGrad no_recording;
    EXPECT_EQ(Tape::current(), nullptr);
    hidden = exp(x);
  }
  EXPECT_EQ(Tape::current(), &tape);
  EXPECT_FALSE(hidden.needs_grad());
  EXPECT_TRUE(tape.nodes().empty());
  EXPECT_TRUE(exp(x).needs_grad());
}

TEST(Tape, GuardsNest) {
  Tape outer, inner;
  const TapeGuard first(outer);
  {
    const TapeGuard second(inner);
    EXPECT_EQ(Tape::current(), &inner);
  }
  EXPECT_EQ(Tape::current(), &outer);
  std::thread([] { EXPECT_EQ(Tape::current(), nullptr); }).join();  // a tape is a thread's own
}

// d(x^2 + 3x) = 2x + 3, and dy scales it.
TEST(Tape, AddsTheGradientsOfEveryUse) {
  const Tensor x = randn({5}, DType::f64, 1), dy = randn({5}, DType::f64, 2);
  Tape tape;
  tape.watch(x, "x");
  const Var y = on(tape, [&] { return add(mul(x, x), x, 1, 3); });
  Gradients gradients;
  tape.backward(y, dy, gradients);
  const std::vector<double> got = doubles(gradients.of(x)), xs = doubles(x), dys = doubles(dy);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], (2 * xs[i] + 3) * dys[i], 1e-12);
  EXPECT_FALSE(gradients.of(dy).defined());
  ASSERT_EQ(gradients.all().size(), 1u);
  EXPECT_EQ(gradients.all().front().first.name, "x");
}

TEST(Tape, AnUndefinedDyMeansOnes) {
  const Tensor x = full({3}, 0.5);
  Tape tape;
  tape.watch(x);
  Gradients gradients;
  tape.backward(on(tape, [&] { return affine(x, 4, 1); }), {}, gradients);
  EXPECT_EQ(doubles(gradients.of(x)), (std::vector<double>{4, 4, 4}));
}

TEST(Tape, BranchesThatTheResultDoesNotUseCostNothing) {
  const Tensor x = randn({4}, DType::f64, 1);
  Tape tape;
  tape.watch(x);
  const Var y = on(tape, [&] {
    softmax(reshape(x, {1, 4}));  // nobody uses it
    return exp(x);
  });
  Gradients gradients;
  const Ran ran;
  tape.backward(y, {}, gradients);
  EXPECT_EQ(ran.count("softmax"), 0);
  for (const Ran::Event& event : ran.events) EXPECT_EQ(event.phase, "backward");
}

// A tensor is known by its bytes: another shape of the same elements is the same leaf.
TEST(Tape, ALeafMayBeUsedUnderAnotherShape) {
  const Tensor x = randn({2, 6}, DType::f64, 1);
  Tape tape;
  tape.watch(x);
  const Var y = on(tape, [&] { return square(Var(x.reshape({3, 4}))); });
  Gradients gradients;
  tape.backward(y, {}, gradients);
  EXPECT_EQ(gradients.of(x).shape(), x.shape());
  EXPECT_NEAR(doubles(gradients.of(x))[5], 2 * doubles(x)[5], 1e-12);
  // A part of it is not.
  const TapeGuard guard(tape);
  EXPECT_FALSE(Var(x.slice(0, 1)).needs_grad());
  EXPECT_FALSE(Var(x.clone()).needs_grad());
}

TEST(Tape, WatchingTwiceIsOneLeaf) {
  const Tensor x = full({2}, 3);
  Tape tape;
  tape.watch(x, "first");
  tape.watch(x, "second");
  ASSERT_EQ(tape.leaves().size(), 1u);
  EXPECT_EQ(tape.leaves().front().name, "first");
}

TEST(Tape, CanBeUsedAgainAfterABackward) {
  const Tensor x = full({2}, 3);
  Tape tape;
  tape.watch(x);
  Gradients first, second;
  const Var y = on(tape, [&] { return square(x); });
  tape.backward(y, {}, first);
  EXPECT_TRUE(tape.nodes().empty());
  tape.backward(on(tape, [&] { return affine(x, 5, 0); }), {}, second);
  EXPECT_EQ(doubles(first.of(x)), (std::vector<double>{6, 6}));
  EXPECT_EQ(doubles(second.of(x)), (std::vector<double>{5, 5}));
  expect_message(message_of([&] { tape.backward(y, {}, second); }), "earlier backward");
}

// Each node's tensors go as soon as they are used, not when the whole backward is done.
TEST(Tape, FreesWhatANodeSavedAsSoonAsItIsUsed) {
  const Tensor x = full({1000}, 0.1);
  Tape tape;
  tape.watch(x);
  std::weak_ptr<Storage> late, early;
  bool late_gone = false, early_there = false;
  Var y;
  {
    const TapeGuard guard(tape);
    Var a = exp(x);  // saves its output
    early = a.value().storage();
    // Looks, in its backward, at what the operations after and before it keep.
    Var probe = record("probe", {a}, a.value().clone(), saved(),
                       [&](const Saved&, const Tensor& dy, Needs) {
                         late_gone = late.expired();
                         early_there = !early.expired();
                         return Grads{dy};
                       });
    a = {};
    y = exp(probe);
    late = y.value().storage();
    y = affine(y, 2, 0);
  }
  EXPECT_FALSE(late.expired());
  Gradients gradients;
  tape.backward(y, {}, gradients);
  EXPECT_TRUE(late_gone);
  EXPECT_TRUE(early_there);
  EXPECT_TRUE(early.expired());
}

TEST(Tape, CountsTheBytesItKeeps) {
  const Tensor x = full({100}, 0.5), w = full({100}, 2);
  Tape tape;
  tape.watch(x);
  const Var y = on(tape, [&] { return mul(exp(x), w); });
  // exp keeps its output; mul keeps w for x's side, which is a constant that we hold, too.
  EXPECT_EQ(tape.saved_bytes(), 800u);
  const std::vector<NodeInfo> nodes = tape.nodes();
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].saved_bytes, 800u);
  EXPECT_EQ(nodes[1].saved_bytes, 0u);
  EXPECT_EQ(nodes[1].saved_text, (std::vector<std::string>{"f64[100] (constant)"}));
  Gradients gradients;
  tape.backward(y, {}, gradients);
  EXPECT_EQ(tape.saved_bytes(), 0u);
}

TEST(Tape, KeepsTheModuleOfEachOperation) {
  const Tensor x = full({4}, 0.5), dy = full({4}, 1);
  Tape tape;
  tape.watch(x);
  Var y;
  {
    const std::string path = "middle_block.1";
    const ModuleScope scope(path);
    y = on(tape, [&] { return tanh(x); });
  }
  EXPECT_EQ(tape.nodes().front().module, "middle_block.1");
  const Ran ran;
  Gradients gradients;
  tape.backward(y, dy, gradients);
  ASSERT_FALSE(ran.events.empty());
  for (const Ran::Event& event : ran.events) EXPECT_EQ(event.module, "middle_block.1");
}

TEST(Tape, RefusesWhatMakesNoSense) {
  const Tensor x = full({3}, 1), other = full({3}, 2);
  Tape tape;
  expect_message(message_of([&] { tape.watch(Tensor::from(std::vector<std::int64_t>{1}, {1})); }),
                 "cannot have a gradient");
  tape.watch(x);
  Gradients gradients;
  expect_message(message_of([&] { tape.backward(exp(other), {}, gradients); }), "does not depend");
  const Var y = on(tape, [&] { return exp(x); });
  expect_message(message_of([&] { tape.backward(y, full({4}, 1), gradients); }), "is not like y");
  expect_message(message_of([&] { tape.backward(y, full({3}, 1, DType::f32), gradients); }),
                 "is not like y");
  expect_message(message_of([] { Tape::current_sink(); }), "no backward is running");
  Tape second;
  expect_message(message_of([&] { on(second, [&] { return exp(y); }); }),
                 "recorded on one tape was used on another");
  // A wrong backward is an error of its own, not a wrong gradient.
  const Var wrong = on(tape, [&] {
    return record("wrong", {Var(x)}, x.clone(), saved(),
                  [](const Saved&, const Tensor&, Needs) { return Grads{full({7}, 1)}; });
  });
  expect_message(message_of([&] { tape.backward(wrong, {}, gradients); }),
                 "wrong: the backward returned f64[7]");
}

TEST(Tape, AMaximumHasNoGradient) {
  const Tensor x = full({3, 2}, 1);
  EXPECT_EQ(reduce_max(x, ReduceOver::all).numel(), 1);
  Tape tape;
  tape.watch(x);
  expect_message(message_of([&] {
                   const TapeGuard guard(tape);
                   reduce_max(x, ReduceOver::all);
                 }),
                 "which a maximum has not");
}

}  // namespace
}  // namespace tiller
