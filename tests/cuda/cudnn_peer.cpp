// cuDNN's rows: loaded at run time, and where there is no GPU they say so and stand back.
#include <gtest/gtest.h>

#include "kernels/conv2d/conv2d.h"
#include "kernels/cudnn/conv_plan.h"
#include "runtime/backend.h"
#include "runtime/error.h"

namespace tiller {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

cudnn::ConvProblem problem(cudnn::ConvKind kind) {
  return {kind, {2, 8, 8, 64}, {32, 3, 3, 64}, {2, 8, 8, 32}, DType::f16, 1, 1, false};
}

TEST(Cudnn, IsLoadedAtRunTime) {
  const cudnn::Api& api = cudnn::api();
  EXPECT_EQ(api.get_version() / 10000, 9U);
  EXPECT_STREQ(api.get_error_string(CUDNN_STATUS_SUCCESS), "CUDNN_STATUS_SUCCESS");
}

TEST(Cudnn, WithoutAGpuItIsNotInitialized) {
  if (available(kGpu)) GTEST_SKIP() << "this machine has a GPU";
  for (int again = 0; again < 2; ++again) {
    try {
      cudnn::handle();
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("NOT_INITIALIZED"), std::string::npos)
          << error.what();
    }
  }
  EXPECT_EQ(cudnn::conv_plan(problem(cudnn::ConvKind::forward)), nullptr);
}

TEST(Cudnn, ItsRowsArePeersBehindOurs) {
  for (const OpBase* op :
       {static_cast<const OpBase*>(&conv2d_fwd), static_cast<const OpBase*>(&conv2d_dgrad),
        static_cast<const OpBase*>(&conv2d_wgrad)}) {
    const std::vector<RowInfo> rows = op->row_table(DeviceType::cuda);
    ASSERT_GT(rows.size(), 3U) << op->name;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool theirs = std::string_view(rows[i].name).starts_with("cudnn");
      EXPECT_EQ(theirs, i + 3 >= rows.size()) << rows[i].name;
      EXPECT_EQ(rows[i].kind == RowKind::peer, theirs) << rows[i].name;
    }
    for (const RowInfo& row : op->row_table(DeviceType::simt))
      EXPECT_NE(row.kind, RowKind::peer) << row.name;
  }
}

TEST(Cudnn, HasPlansForAllThreePasses) {
  if (!available(kGpu)) GTEST_SKIP() << "NO GPU HERE: no plan of cuDNN's was made";
  for (const cudnn::ConvKind kind :
       {cudnn::ConvKind::forward, cudnn::ConvKind::dgrad, cudnn::ConvKind::wgrad})
    EXPECT_NE(cudnn::conv_plan(problem(kind)), nullptr) << static_cast<int>(kind);
}

TEST(Cudnn, ComputesTheSameConvolution) {
  if (!available(kGpu)) GTEST_SKIP() << "NO GPU HERE: no row of cuDNN's ran";
  // Small integers: every sum is exact in f32.
  const auto integers = [](const Shape& shape, int step) {
    std::vector<float> values(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(static_cast<int>(i * static_cast<std::size_t>(step) % 7) - 3);
    return Tensor::from(values, shape, kGpu);
  };
  Conv2dFwdArgs args;
  args.x0 = integers({2, 8, 8, 64}, 3);
  args.w = integers({32, 3, 3, 64}, 5);
  args.geometry = {.stride = 1, .pad = 1};
  const auto result = [&](const char* row) {
    args.y = Tensor::empty({2, 8, 8, 32}, DType::f32, kGpu);
    const ForceRows force(row);
    run(conv2d_fwd, args);
    return args.y.to_vector<float>();
  };
  EXPECT_EQ(result("conv2d_fwd:cudnn_f32"), result("conv2d_fwd:v1_naive"));
}

}  // namespace
}  // namespace tiller
