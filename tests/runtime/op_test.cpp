#include "runtime/op.h"

#include <gtest/gtest.h>

#include "runtime/parallel.h"

namespace tiller {

// A made-up operation with one row of each kind: y = 2 x.
struct DoubleArgs {
  Tensor x, y;
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};
Cost cost(const DoubleArgs& a) {
  return {static_cast<double>(a.x.numel()), static_cast<double>(a.x.bytes()),
          static_cast<double>(a.y.bytes())};
}
std::string describe(const DoubleArgs& a) { return "x " + to_string(a.x); }

namespace {

void twice(const DoubleArgs& a, void*, Stream) {
  launch("twice", a.x.numel(),
         [&](std::int64_t i) { a.y.data<float>()[i] = 2 * a.x.data<float>()[i]; });
}
void twice_with_scratch(const DoubleArgs& a, void* workspace, Stream) {
  static_cast<float*>(workspace)[0] = 2;
  for (std::int64_t i = 0; i < a.x.numel(); ++i)
    a.y.data<float>()[i] = static_cast<float*>(workspace)[0] * a.x.data<float>()[i];
}
bool always(const DoubleArgs&) { return true; }
bool multiple_of_four(const DoubleArgs& a) { return a.x.numel() % 4 == 0; }
std::size_t four_bytes(const DoubleArgs&) { return 4; }

std::span<const Row<DoubleArgs>> rows(DeviceType device) {
  static const Row<DoubleArgs> table[] = {
      {"reference", DeviceType::cpu, Math::f32, RowKind::reference, always, nullptr, twice},
      {"v1_scratch", DeviceType::cpu, Math::f32, RowKind::fast, multiple_of_four, four_bytes,
       twice_with_scratch},
      {"v2_low", DeviceType::cpu, Math::tf32, RowKind::fast, multiple_of_four, nullptr, twice},
      {"library", DeviceType::cpu, Math::f32, RowKind::peer, always, nullptr, twice},
  };
  if (device != DeviceType::cpu) return {};
  return table;
}
const Op<DoubleArgs> double_op("double", rows);

DoubleArgs arguments(std::int64_t n, Device device = kCpu) {
  return {Tensor::zeros({n}, DType::f32, device), Tensor::empty({n}, DType::f32, device)};
}

TEST(ChooseRow, TakesTheLastThatSupportsTheArguments) {
  EXPECT_STREQ(choose_row(double_op, arguments(8)).name, "v1_scratch");
  EXPECT_STREQ(choose_row(double_op, arguments(3)).name, "reference");
}

TEST(ChooseRow, NeverLowersTheMathUnasked) {
  const MathGuard guard(Math::tf32);
  EXPECT_STREQ(choose_row(double_op, arguments(8)).name, "v2_low");
}

TEST(ChooseRow, APeerOnlyWhenForced) {
  const ForceRows force("other:x,double:library");
  EXPECT_STREQ(choose_row(double_op, arguments(8)).name, "library");
}

TEST(ChooseRow, AForcedRowThatCannotIsAnError) {
  const ForceRows force("double:v1_scratch");
  EXPECT_STREQ(choose_row(double_op, arguments(4)).name, "v1_scratch");
  try {
    choose_row(double_op, arguments(3));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "double: the forced row v1_scratch does not exist or does not support these "
                 "arguments: x f32[3] (rows on cpu: reference, v1_scratch, v2_low, library)");
  }
}

TEST(Run, GivesTheRowItsWorkspace) {
  const DoubleArgs args{Tensor::from(std::vector<float>{1, 2, 3, 4}, {4}), Tensor::empty({4})};
  run(double_op, args);
  EXPECT_EQ(args.y.to_vector<float>(), (std::vector<float>{2, 4, 6, 8}));
}

struct Recorder final : TraceSink {
  void on_op(const OpEvent& event) override { ops.push_back(event); }
  void on_launch(const LaunchEvent& event) override { launches.push_back(event); }
  std::vector<OpEvent> ops;
  std::vector<LaunchEvent> launches;
};

TEST(Run, ReportsOperationRowModuleAndCost) {
  Recorder recorder;
  const std::string path = "input_blocks.3.0";
  {
    const TraceGuard guard(recorder, TraceLevel::launches);
    const ModuleScope module(path);
    const PhaseScope phase("unet");
    run(double_op, arguments(3));
  }
  run(double_op, arguments(3));
  ASSERT_EQ(recorder.ops.size(), 1u);
  const OpEvent& event = recorder.ops[0];
  EXPECT_STREQ(event.op, "double");
  EXPECT_STREQ(event.row, "reference");
  EXPECT_EQ(event.module, path);
  EXPECT_STREQ(event.phase, "unet");
  EXPECT_EQ(event.shape, "x f32[3]");
  EXPECT_EQ(event.cost.bytes_read, 12);
  EXPECT_LE(event.begin_ns, event.end_ns);
  ASSERT_EQ(recorder.launches.size(), 1u);
  EXPECT_STREQ(recorder.launches[0].kernel, "twice");
  EXPECT_EQ(recorder.launches[0].grid, 3);
}

TEST(Run, OnMetaReportsAndComputesNothing) {
  Recorder recorder;
  const TraceGuard guard(recorder, TraceLevel::ops);
  run(double_op, arguments(8, kMeta));
  ASSERT_EQ(recorder.ops.size(), 1u);
  EXPECT_STREQ(recorder.ops[0].row, "v1_scratch");
  EXPECT_EQ(recorder.ops[0].device, kMeta);
}

TEST(Fail, AddsTheModuleThatRuns) {
  const std::string path = "middle_block.1";
  const ModuleScope module(path);
  try {
    TILLER_CHECK(1 + 1 == 3, "sum: {} is not {}", 2, 3);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "sum: 2 is not 3, in middle_block.1");
  }
}

TEST(Launch, EveryTaskRunsOnceWhateverTheThreads) {
  const int before = threads();
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    std::vector<int> hits(1000);
    launch("count", 1000, [&](std::int64_t i) { ++hits[static_cast<std::size_t>(i)]; });
    launch_dynamic("count", 1000, [&](std::int64_t i) { ++hits[static_cast<std::size_t>(i)]; });
    EXPECT_EQ(std::count(hits.begin(), hits.end(), 2), 1000);
  }
  set_threads(before);
  EXPECT_THROW(set_threads(0), Error);
}

}  // namespace
}  // namespace tiller
