#pragma once
// The fully connected layer by other people's libraries, to compare with: f32, dense tensors, bias
// and residual but no SiLU of the input. Empty spans where no such library was found.
#include "kernels/linear/linear.h"

namespace tiller {

std::span<const Row<LinearFwdArgs>> linear_fwd_peers();
std::span<const Row<LinearDgradArgs>> linear_dgrad_peers();
std::span<const Row<LinearWgradArgs>> linear_wgrad_peers();

}  // namespace tiller
