// No rows for TILLER_DEVICE (cuda or simt), which this program is built without.
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

template <class Args, DeviceType kDevice>
std::span<const Row<Args>> rows_on() {
  return {};
}

template std::span<const Row<Conv2dFwdArgs>> rows_on<Conv2dFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<Conv2dDgradArgs>> rows_on<Conv2dDgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<Conv2dWgradArgs>> rows_on<Conv2dWgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<LinearFwdArgs>> rows_on<LinearFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<LinearDgradArgs>> rows_on<LinearDgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<LinearWgradArgs>> rows_on<LinearWgradArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<AttentionFwdArgs>> rows_on<AttentionFwdArgs, DeviceType::TILLER_DEVICE>();
template std::span<const Row<AttentionBwdArgs>> rows_on<AttentionBwdArgs, DeviceType::TILLER_DEVICE>();

}  // namespace tiller
