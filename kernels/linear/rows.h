#pragma once
// Each device's implementations of the fully connected layer, in study order.
#include "kernels/gemm/mma_plan.h"
#include "kernels/linear/linear.h"

namespace tiller {

std::span<const Row<LinearFwdArgs>> linear_fwd_rows(DeviceType device);
std::span<const Row<LinearDgradArgs>> linear_dgrad_rows(DeviceType device);
std::span<const Row<LinearWgradArgs>> linear_wgrad_rows(DeviceType device);

/// The product that a tensor-core row makes of a call.
MmaSize mma_size(const LinearFwdArgs& args);
MmaSize mma_size(const LinearDgradArgs& args);

/// The row to prefer on a GPU, null for the last that supports the arguments.
const char* linear_fwd_tuned(const LinearFwdArgs& args, DeviceType device);
const char* linear_dgrad_tuned(const LinearDgradArgs& args, DeviceType device);

}  // namespace tiller
