#pragma once
// A training loop as short as it can be: draw, forward, backward, update.
#include <cstdint>
#include <functional>
#include <limits>

#include "diffusion/gaussian_diffusion.h"
#include "nn/classifier.h"
#include "nn/unet.h"

namespace tiller::demo {

/// Where a training stands, after each step.
struct TrainingStep {
  std::int64_t step;  ///< done so far, from 1
  double loss;
  double seconds;  ///< since the start
};

struct TrainingOptions {
  std::int64_t steps = 1;
  std::int64_t batch = 32;
  std::uint64_t seed = 0;  ///< of pictures, timesteps and noise
  double lr = 1e-3;
  std::int64_t warmup = 20;  ///< steps over which lr grows from 0
  double weight_decay = 0;
  double ema_rate = 0.995;
  double max_seconds = std::numeric_limits<double>::infinity();  ///< stops earlier, after a step
  std::function<void(const TrainingStep&)> on_step;              ///< may throw to stop at once
};

/// Trains on the shapes and leaves the averaged weights in the network. The UNet learns to predict
/// the picture behind the noise (Ho et al. 2020, Algorithm 1, in its x_0 form of section 3.2), the
/// classifier to name what it sees through the noise, at every timestep (Dhariwal & Nichol 2021,
/// section 4). Throws Error when the loss is not finite.
TrainingStep train(const UNet& unet, const GaussianDiffusion& diffusion,
                   const TrainingOptions& options);
TrainingStep train(const Classifier& classifier, const GaussianDiffusion& diffusion,
                   const TrainingOptions& options);

}  // namespace tiller::demo
