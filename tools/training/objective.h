#pragma once
// What the two networks are trained for: guided-diffusion's losses on the samples of one step.
#include <cstdint>
#include <string>

#include "diffusion/gaussian_diffusion.h"
#include "diffusion/losses.h"
#include "diffusion/schedule_sampler.h"
#include "nn/classifier.h"
#include "nn/unet.h"
#include "tools/data/loader.h"
#include "tools/training/log_means.h"

namespace tiller {

/// All that one step looks at, for the whole batch: no matter how it is cut into microbatches, a
/// sample has the same picture, noise, step and dropout.
struct StepInputs {
  Tensor x{};           // [N,S,S,C] f32 in [-1, 1]
  Tensor y{};           // [N] i64, or none
  Tensor low_res{};     // [N,s,s,C], or none
  DrawnSteps drawn{};   // step [N] i64, weight [N] f32
  Tensor noise{};       // [N,S,S,C]
  RandomKey dropout{};  ///< of sample 0
  std::int64_t size() const { return x.dim(0); }
};

/// How a step's inputs are made.
struct DrawOptions {
  std::uint64_t seed = 0;
  std::int64_t small_size = 0;  ///< super-resolution: side of low_res, by area; 0: none
  /// Share of labels that are replaced by `no_class`, so that one network learns both with and
  /// without a class (Ho & Salimans 2022).
  double class_drop = 0;
  std::int64_t no_class = 0;
  Device device = kCpu;
};

/// Draws step `step`'s numbers by Philox from (seed, step, place in the batch). `y` is undefined
/// where the network takes none.
StepInputs draw_inputs(const Tensor& x, const Tensor& y, std::int64_t step,
                       const ScheduleSampler& sampler, const DrawOptions& options);

/// The mean over samples [begin, end) of weight * loss, recorded. Logs loss, mse and vb, each times
/// its weight, by quartile; tells `sampler` the losses without it. `weighting` is training_losses()'s.
Var diffusion_objective(const UNet& unet, const GaussianDiffusion& diffusion,
                        const StepInputs& inputs, std::int64_t begin, std::int64_t end,
                        ScheduleSampler& sampler, LogMeans& log,
                        const std::optional<SnrClamp>& weighting = {});

/// The mean cross entropy over samples [begin, end), recorded, of pictures noised to their step or,
/// without `noised`, as they are and at step 0. Logs prefix_loss, prefix_acc@1 and prefix_acc@5 by
/// quartile; with fewer than five classes acc@5 counts among all of them.
Var classifier_objective(const Classifier& classifier, const GaussianDiffusion& diffusion,
                         const StepInputs& inputs, std::int64_t begin, std::int64_t end,
                         bool noised, const std::string& prefix, LogMeans& log);

}  // namespace tiller
