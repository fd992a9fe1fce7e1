#pragma once
// Each device's implementations of the fully connected layer, in study order.
#include "kernels/linear/linear.h"

namespace tiller {

std::span<const Row<LinearFwdArgs>> linear_fwd_rows(DeviceType device);
std::span<const Row<LinearDgradArgs>> linear_dgrad_rows(DeviceType device);
std::span<const Row<LinearWgradArgs>> linear_wgrad_rows(DeviceType device);

}  // namespace tiller
