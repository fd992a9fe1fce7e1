// The CUDA runtime. On a machine without a GPU it must start all the same and say what is missing;
// what needs one is skipped there, loudly.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/peak/peak.h"
#include "runtime/backend.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/errors.h"
#include "runtime/error.h"
#include "runtime/graph.h"
#include "runtime/tensor.h"

namespace tiller {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CudaWithoutAGpu, SaysSo) {
  if (available(kGpu)) GTEST_SKIP() << "this machine has a GPU";
  try {
    backend(kGpu);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 1);
    EXPECT_NE(std::string(error.what()).find("no usable GPU or no driver"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("--device cpu"), std::string::npos) << error.what();
  }
  const std::string asked =
      message_of([] { cuda::driver_function("cuTensorMapEncodeTiled", 12000); });
  EXPECT_NE(asked.find("the driver's cuTensorMapEncodeTiled cannot be had"), std::string::npos)
      << asked;
}

TEST(CudaErrors, StickyOnesNameTheLastKernels) {
  cuda::note_all_well();
  for (const char* kernel : {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
    cuda::note_launch(kernel);
  EXPECT_EQ(message_of([] { cuda::check(cudaSuccess, "x"); }), "no error");
  const std::string sticky = message_of([] { cuda::check(cudaErrorIllegalAddress, "cudaMalloc"); });
  EXPECT_NE(sticky.find("as cudaMalloc found: "), std::string::npos) << sticky;
  EXPECT_NE(sticky.find("newest first: j, i, h, g, f, e, d, c"), std::string::npos) << sticky;
  EXPECT_EQ(sticky.find(", b"), std::string::npos) << sticky;
  const std::string own = message_of([] { cuda::check(cudaErrorInvalidValue, "cudaMalloc"); });
  EXPECT_EQ(own.find("newest first"), std::string::npos) << own << ": no kernel's fault";
  cuda::note_all_well();
  cuda::note_launch("z");
  const std::string after = message_of([] { cuda::check(cudaErrorLaunchFailure, "x"); });
  EXPECT_NE(after.find("newest first: z"), std::string::npos) << after;
  EXPECT_EQ(after.find(", j"), std::string::npos) << after;
  cuda::note_all_well();
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(kGpu)) GTEST_SKIP() << "NO GPU HERE: this test of the CUDA runtime did not run";
  }
};

TEST_F(Gpu, CopiesMoreThanOnePieceOfPinnedMemory) {
  std::vector<std::int32_t> values((std::size_t{13} << 18) + 1);  // 13 MiB and a little
  std::iota(values.begin(), values.end(), 0);
  const Tensor there =
      Tensor::from(values, {static_cast<std::int64_t>(values.size())}, kGpu).clone();
  EXPECT_EQ(there.to_vector<std::int32_t>(), values);
}

TEST_F(Gpu, FreedMemoryIsReusedAndGivenBack) {
  Backend& gpu = backend(kGpu);
  gpu.release_cached();
  const MemoryStats before = gpu.memory();
  void* first = nullptr;
  {
    const Tensor t = Tensor::empty({1 << 20}, DType::f32, kGpu);
    first = t.raw();
  }
  EXPECT_EQ(Tensor::empty({1 << 20}, DType::f32, kGpu).raw(), first);
  EXPECT_EQ(gpu.memory().segments, before.segments + 1);
  EXPECT_GT(gpu.memory().cached, before.cached);
  gpu.release_cached();
  EXPECT_EQ(gpu.memory().cached, before.cached);
}

TEST_F(Gpu, RefusesWhatDoesNotFit) {
  try {
    Tensor::empty({std::int64_t{1} << 42}, DType::f32, kGpu);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
  }
  EXPECT_EQ(Tensor::zeros({3}, DType::f32, kGpu).to_vector<float>(), std::vector<float>(3));
}

TEST_F(Gpu, ReplaysACapturedStepWithBranches) {
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3}, kGpu), y = x.clone();
  const auto shift = [](const Tensor& t) {
    const Tensor old = t.clone();
    t.slice(1, 3).copy_from(old.slice(0, 2));
  };
  StepGraph graph(kGpu, true);
  const auto step = [&] {
    run_side_by_side(
        kGpu, [&] { shift(x); }, [&] { shift(y); });
  };
  graph.run(step);
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{1, 1, 2}));
  graph.run(step);
  ASSERT_TRUE(graph.captured());
  EXPECT_EQ(graph.nodes(), 4U);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{1, 1, 1}));
  x.copy_from(Tensor::from(std::vector<float>{7, 8, 9}, {3}, kGpu));
  const MemoryStats before = backend(kGpu).memory();
  graph.run(step);
  EXPECT_EQ(backend(kGpu).memory().allocations, before.allocations);
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{7, 7, 8}));
}

TEST_F(Gpu, RefusesToCaptureACopyFromTheHostAndWorksOn) {
  const Tensor x = Tensor::zeros({3}, DType::f32, kGpu);
  StepGraph graph(kGpu, true);
  const auto step = [&] { x.copy_from(Tensor::from(std::vector<float>{1, 2, 3}, {3})); };
  graph.run(step);
  EXPECT_THROW(graph.run(step), Error);
  EXPECT_EQ(x.to_vector<float>(), (std::vector<float>{1, 2, 3}));
}

TEST_F(Gpu, MultipliesAndAddsAsManyTimesAsItSays) {
  for (const auto& [kind, each] : {std::pair{PeakKind::fma_f32, 1.0f},
                                   {PeakKind::mma_f16, 64.0f},
                                   {PeakKind::mma_bf16, 64.0f},
                                   {PeakKind::mma_tf32, 32.0f}}) {
    const Tensor sink = Tensor::empty({2 * kPeakThreads}, DType::f32, kGpu);
    run_peak(kind, 3, sink, current_stream(kGpu));
    for (const float sum : sink.to_vector<float>())
      ASSERT_EQ(sum, 3 * kPeakChains * each) << name(kind);
  }
}

TEST_F(Gpu, HasTheDriversTensorMaps) {
  EXPECT_NE(cuda::tensor_map_encode_tiled(), nullptr);
  EXPECT_NE(cuda::tensor_map_encode_im2col(), nullptr);
  EXPECT_THROW(cuda::driver_function("cuNoSuchFunction", 12000), Error);
}

}  // namespace
}  // namespace tiller
