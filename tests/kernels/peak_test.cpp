#include "kernels/peak/peak.h"

#include <gtest/gtest.h>

#include "runtime/backend.h"
#include "runtime/error.h"
#include "tests/gpu.h"

namespace tiller {
namespace {

using test::gpu;
using test::no_gpu;

// Two blocks, three rounds: every sum is known, so no round was dropped.
TEST(Peak, AddsWhatItSaysItAdds) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  for (const auto& [kind, each] : {std::pair{PeakKind::fma_f32, 1.0f},
                                   {PeakKind::mma_f16, 4 * 16.0f},
                                   {PeakKind::mma_bf16, 4 * 16.0f},
                                   {PeakKind::mma_tf32, 4 * 8.0f}}) {
    const Tensor sink = Tensor::empty({2 * kPeakThreads}, DType::f32, gpu());
    run_peak(kind, 3, sink, current_stream(gpu()));
    for (const float sum : sink.to_vector<float>())
      ASSERT_EQ(sum, 3 * kPeakChains * each) << name(kind);
    // A multiply-add raised a sum by at most one.
    double raised = 0;
    for (const float sum : sink.to_vector<float>()) raised += sum;
    EXPECT_EQ(peak_flops(kind, 2, 3), 2 * raised) << name(kind);
  }
}

TEST(Peak, TheCpuHasAnother) {
  EXPECT_THROW(run_peak(PeakKind::fma_f32, 1, Tensor::empty({kPeakThreads}), Stream{kCpu}), Error);
}

}  // namespace
}  // namespace tiller
