#pragma once
// Pictures as a function call: for the commands that look at samples instead of filing them.
#include <cstdint>
#include <functional>
#include <vector>

#include "diffusion/sampler.h"
#include "nn/classifier.h"
#include "nn/unet.h"

namespace tiller {

/// What draws. Pointers must outlive it.
struct Drawer {
  const UNet* unet = nullptr;
  const Classifier* guide = nullptr;  ///< null, or scale 0: unguided
  double scale = 0;
  const GaussianDiffusion* diffusion = nullptr;
  SampleOptions sampler{};
  std::int64_t side = 0;   ///< of the pictures, in pixels
  std::uint64_t seed = 0;  ///< of all noise
  /// Called after each step of a batch with the number of steps that are left; may throw to stop.
  std::function<void(std::int64_t left)> on_step{};
};

/// Draws samples first .. first + N - 1, each from noise that depends on the seed and its index
/// alone: with one seed, every scale and every network starts from the same noise and meets the same
/// noise on its way. `labels` [N] is what the guide steers towards, and what a conditional network
/// is told. -> u8 [N,side,side,C] on the host. Throws Error(failed) where numbers are not finite.
Tensor draw_samples(const Drawer& drawer, const std::vector<std::int64_t>& labels,
                    std::int64_t first);

}  // namespace tiller
