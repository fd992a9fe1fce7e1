// No rows for TILLER_DEVICE (cuda or simt), which this program is built without.
#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/peak/peak.h"
#include "kernels/pool_tokens/pool_tokens.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resample/resample.h"
#include "kernels/rows_cuda.h"
#include "kernels/sampler_step/sampler_step.h"
#include "kernels/softmax/softmax.h"
#include "runtime/error.h"

namespace tiller {

template <>
void run_peak_on<DeviceType::TILLER_DEVICE>(PeakKind, std::int64_t, const Tensor&, Stream) {
  fail(ErrorKind::failed, "peak: the device of these kernels is not built");
}

template <class Args, DeviceType kDevice>
std::span<const Row<Args>> rows_on() {
  return {};
}

template std::span<const Row<Conv2dFwdArgs>> rows_on<Conv2dFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<Conv2dDgradArgs>>
rows_on<Conv2dDgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<Conv2dWgradArgs>>
rows_on<Conv2dWgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<LinearFwdArgs>> rows_on<LinearFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<LinearDgradArgs>>
rows_on<LinearDgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<LinearWgradArgs>>
rows_on<LinearWgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<GroupNormFwdArgs>>
rows_on<GroupNormFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<GroupNormBwdArgs>>
rows_on<GroupNormBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<AttentionFwdArgs>>
rows_on<AttentionFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<AttentionBwdArgs>>
rows_on<AttentionBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<PoolTokensFwdArgs>>
rows_on<PoolTokensFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<PoolTokensBwdArgs>>
rows_on<PoolTokensBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<UnaryArgs>> rows_on<UnaryArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<SiluBwdArgs>> rows_on<SiluBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<BinaryArgs>> rows_on<BinaryArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<WhereArgs>> rows_on<WhereArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<ResampleFwdArgs>>
rows_on<ResampleFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<ResampleBwdArgs>>
rows_on<ResampleBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<SoftmaxFwdArgs>> rows_on<SoftmaxFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<SoftmaxBwdArgs>> rows_on<SoftmaxBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<CrossEntropyFwdArgs>>
rows_on<CrossEntropyFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<CrossEntropyBwdArgs>>
rows_on<CrossEntropyBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<ReduceArgs>> rows_on<ReduceArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<BroadcastToArgs>>
rows_on<BroadcastToArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<EmbeddingFwdArgs>>
rows_on<EmbeddingFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<EmbeddingBwdArgs>>
rows_on<EmbeddingBwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<TimestepEmbeddingArgs>>
rows_on<TimestepEmbeddingArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<DropoutArgs>> rows_on<DropoutArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<AdamWArgs>> rows_on<AdamWArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<EmaArgs>> rows_on<EmaArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<NormArgs>> rows_on<NormArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<ScaleAllArgs>> rows_on<ScaleAllArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<SamplerStepArgs>>
rows_on<SamplerStepArgs, DeviceType::TILLER_DEVICE>();

}  // namespace tiller
