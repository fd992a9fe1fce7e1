#pragma once
// The convolution by other people's libraries, to compare with: f32, dense tensors, one source, no
// fusion but bias and residual. Empty spans where no such library was found.
#include "kernels/conv2d/conv2d.h"

namespace tiller {

std::span<const Row<Conv2dFwdArgs>> conv2d_fwd_peers();
std::span<const Row<Conv2dDgradArgs>> conv2d_dgrad_peers();
std::span<const Row<Conv2dWgradArgs>> conv2d_wgrad_peers();

}  // namespace tiller
