#pragma once
// Between the networks' numbers, about [-1, 1], and the 8-bit values of pictures.
#include "runtime/tensor.h"

namespace tiller {

/// (x + 1) * 127.5 in f32, clamped to [0, 255] and truncated, as guided-diffusion's scripts do.
/// x f32 [...] on any device -> u8 [...] on the host. NaN becomes 0.
Tensor to_pixels(const Tensor& x);

/// p / 127.5 - 1 in f32. pixels u8 [...] -> f32 [...], on the host.
Tensor from_pixels(const Tensor& pixels);

}  // namespace tiller
