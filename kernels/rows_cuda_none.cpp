#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool_tokens/pool_tokens.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resample/resample.h"
#include "kernels/rows_cuda.h"
#include "kernels/sampler_step/sampler_step.h"
#include "kernels/softmax/softmax.h"

namespace tiller {

template <class Args>
std::span<const Row<Args>> device_rows(DeviceType) {
  return {};
}

template std::span<const Row<Conv2dFwdArgs>> device_rows(DeviceType);
template std::span<const Row<Conv2dDgradArgs>> device_rows(DeviceType);
template std::span<const Row<Conv2dWgradArgs>> device_rows(DeviceType);
template std::span<const Row<LinearFwdArgs>> device_rows(DeviceType);
template std::span<const Row<LinearDgradArgs>> device_rows(DeviceType);
template std::span<const Row<LinearWgradArgs>> device_rows(DeviceType);
template std::span<const Row<GroupNormFwdArgs>> device_rows(DeviceType);
template std::span<const Row<GroupNormBwdArgs>> device_rows(DeviceType);
template std::span<const Row<AttentionFwdArgs>> device_rows(DeviceType);
template std::span<const Row<AttentionBwdArgs>> device_rows(DeviceType);
template std::span<const Row<PoolTokensFwdArgs>> device_rows(DeviceType);
template std::span<const Row<PoolTokensBwdArgs>> device_rows(DeviceType);
template std::span<const Row<UnaryArgs>> device_rows(DeviceType);
template std::span<const Row<SiluBwdArgs>> device_rows(DeviceType);
template std::span<const Row<BinaryArgs>> device_rows(DeviceType);
template std::span<const Row<WhereArgs>> device_rows(DeviceType);
template std::span<const Row<ResampleFwdArgs>> device_rows(DeviceType);
template std::span<const Row<ResampleBwdArgs>> device_rows(DeviceType);
template std::span<const Row<SoftmaxFwdArgs>> device_rows(DeviceType);
template std::span<const Row<SoftmaxBwdArgs>> device_rows(DeviceType);
template std::span<const Row<CrossEntropyFwdArgs>> device_rows(DeviceType);
template std::span<const Row<CrossEntropyBwdArgs>> device_rows(DeviceType);
template std::span<const Row<ReduceArgs>> device_rows(DeviceType);
template std::span<const Row<BroadcastToArgs>> device_rows(DeviceType);
template std::span<const Row<EmbeddingFwdArgs>> device_rows(DeviceType);
template std::span<const Row<EmbeddingBwdArgs>> device_rows(DeviceType);
template std::span<const Row<TimestepEmbeddingArgs>> device_rows(DeviceType);
template std::span<const Row<DropoutArgs>> device_rows(DeviceType);
template std::span<const Row<AdamWArgs>> device_rows(DeviceType);
template std::span<const Row<EmaArgs>> device_rows(DeviceType);
template std::span<const Row<NormArgs>> device_rows(DeviceType);
template std::span<const Row<ScaleAllArgs>> device_rows(DeviceType);
template std::span<const Row<SamplerStepArgs>> device_rows(DeviceType);

}  // namespace tiller
