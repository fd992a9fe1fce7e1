#pragma once
// Each device's implementations of the convolution, in study order.
#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/mma_plan.h"

namespace tiller {

std::span<const Row<Conv2dFwdArgs>> conv2d_fwd_rows(DeviceType device);
std::span<const Row<Conv2dDgradArgs>> conv2d_dgrad_rows(DeviceType device);
std::span<const Row<Conv2dWgradArgs>> conv2d_wgrad_rows(DeviceType device);

/// The product that a tensor-core row makes of a call; of one residue of the pixels where a strided
/// data gradient has several.
MmaSize mma_size(const Conv2dFwdArgs& args);
MmaSize mma_size(const Conv2dDgradArgs& args);

/// The row to prefer, null for the last that supports the arguments.
const char* conv2d_fwd_tuned(const Conv2dFwdArgs& args, DeviceType device);
const char* conv2d_dgrad_tuned(const Conv2dDgradArgs& args, DeviceType device);
const char* conv2d_wgrad_tuned(const Conv2dWgradArgs& args, DeviceType device);

}  // namespace tiller
