// Steps that are captured and replayed, on simt: its graphs keep what was launched, as CUDA's do.
#include "runtime/graph.h"

#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/tensor.h"
#include "runtime/trace.h"
#include "tests/gpu.h"

namespace tiller {
namespace {

using test::gpu;
using test::no_gpu;

class GraphTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(gpu())) GTEST_SKIP() << no_gpu();
  }
  // What a step does here: shift three numbers through a scratch tensor.
  static void shift(const Tensor& x) {
    const Tensor old = x.clone();
    x.slice(1, 3).copy_from(old.slice(0, 2));
  }
  static std::vector<float> values(const Tensor& x) { return x.to_vector<float>(); }
  const Tensor x_ =
      available(gpu()) ? Tensor::from(std::vector<float>{1, 2, 3}, {3}, gpu()) : Tensor();
};

TEST_F(GraphTest, RunsTheFirstStepAndReplaysFromTheSecondOn) {
  StepGraph graph(gpu(), true);
  int calls = 0;
  const auto step = [&] {
    ++calls;
    shift(x_);
  };
  graph.run(step);
  EXPECT_EQ(values(x_), (std::vector<float>{1, 1, 2}));
  EXPECT_FALSE(graph.captured());
  graph.run(step);
  EXPECT_EQ(values(x_), (std::vector<float>{1, 1, 1})) << "captured, then run once, not twice";
  EXPECT_TRUE(graph.captured());
  EXPECT_EQ(graph.nodes(), 2U);
  x_.copy_from(Tensor::from(std::vector<float>{7, 8, 9}, {3}, gpu()));
  graph.run(step);
  EXPECT_EQ(values(x_), (std::vector<float>{7, 7, 8}));
  EXPECT_EQ(calls, 2);
}

TEST_F(GraphTest, AllocatesNothingAfterItsCapture) {
  StepGraph graph(gpu(), true);
  const auto step = [&] { shift(x_); };
  graph.run(step);
  graph.run(step);
  const MemoryStats before = backend(gpu()).memory();
  const std::uint64_t waits = backend(gpu()).host_waits();
  for (int i = 0; i < 3; ++i) graph.run(step);
  EXPECT_EQ(backend(gpu()).memory().allocations, before.allocations);
  EXPECT_EQ(backend(gpu()).memory().segments, before.segments);
  EXPECT_EQ(backend(gpu()).host_waits(), waits);
}

TEST_F(GraphTest, KeepsItsMemoryToItself) {
  StepGraph graph(gpu(), true);
  const auto step = [&] { shift(x_); };
  graph.run(step);
  graph.run(step);
  // Whoever allocates now must not get the graph's scratch tensor.
  std::vector<Tensor> others;
  for (int i = 0; i < 50; ++i) others.push_back(Tensor::zeros({3}, DType::f32, gpu()));
  graph.run(step);
  for (const Tensor& other : others) EXPECT_EQ(values(other), std::vector<float>(3));
}

TEST_F(GraphTest, RefusesAStepThatWaitsForTheDevice) {
  StepGraph graph(gpu(), true);
  const auto reads = [&] { values(x_); };
  const auto writes = [&] { x_.copy_from(Tensor::from(std::vector<float>{1, 2, 3}, {3})); };
  for (const std::function<void()>& step : {std::function<void()>(reads), {writes}}) {
    StepGraph refused(gpu(), true);
    refused.run(step);
    EXPECT_THROW(refused.run(step), Error);
    EXPECT_EQ(values(x_), (std::vector<float>{1, 2, 3})) << "and the device works on";
  }
  graph.run([&] { shift(x_); });
  graph.run([&] { shift(x_); });
  EXPECT_TRUE(graph.captured()) << "a capture that failed leaves nothing behind";
}

TEST_F(GraphTest, BranchesAreCapturedToo) {
  const Tensor y = x_.clone();
  StepGraph graph(gpu(), true);
  const auto step = [&] {
    run_side_by_side(
        gpu(), [&] { shift(x_); }, [&] { shift(y); });
  };
  for (int i = 0; i < 3; ++i) graph.run(step);
  EXPECT_EQ(graph.nodes(), 4U);
  EXPECT_EQ(values(x_), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(values(y), values(x_));
}

TEST_F(GraphTest, SideBySideTheSecondHasAStreamOfItsOwn) {
  void* first = nullptr;
  void* second = nullptr;
  run_side_by_side(
      gpu(), [&] { first = current_stream(gpu()).handle; },
      [&] { second = current_stream(gpu()).handle; });
  EXPECT_NE(first, second);
  EXPECT_EQ(current_stream(gpu()).handle, first);
}

struct Silent final : TraceSink {
  void on_op(const OpEvent&) override {}
};

TEST_F(GraphTest, RunsEveryStepWhereItMust) {
  int calls = 0;
  const auto step = [&] { ++calls; };
  StepGraph off(gpu(), false);
  for (int i = 0; i < 4; ++i) off.run(step);
  EXPECT_EQ(calls, 4) << "disabled";
  StepGraph on_cpu(kCpu, true);
  for (int i = 0; i < 4; ++i) on_cpu.run(step);
  EXPECT_EQ(calls, 8) << "the CPU captures nothing";
  StepGraph traced(gpu(), true);
  Silent sink;
  const TraceGuard guard(sink, TraceLevel::ops);
  for (int i = 0; i < 4; ++i) traced.run(step);
  EXPECT_EQ(calls, 12) << "a trace wants to see every operation";
}

TEST(Graph, TheCpuSaysThatItCapturesNone) {
  EXPECT_FALSE(backend(kCpu).captures());
  EXPECT_THROW(backend(kCpu).begin_capture(Stream{kCpu}), Error);
}

}  // namespace
}  // namespace tiller
