#pragma once
// One step of training, of any network: gradients of the microbatches, their scale and norm, AdamW,
// the averages.
#include <cstdint>
#include <string>
#include <vector>

#include "nn/optimizer.h"
#include "tools/training/learning_rate.h"
#include "tools/training/log_means.h"
#include "tools/training/loss_scale.h"

namespace tiller {

struct TrainerOptions {
  LearningRate rate{};
  double weight_decay = 0;
  std::vector<double> ema_rates{};
  /// Update n of an average (from 0) uses min(rate, (1 + n) / (10 + n)): a young average forgets
  /// its start sooner.
  bool ema_warmup = false;
  double grad_clip = 0;  ///< largest norm of the gradients; 0: any
  LossScaleOptions loss_scale{};
  std::int64_t microbatch = -1;
  /// Microbatches' mean losses add up, as in guided-diffusion's image_train; else each weighs its
  /// share of the batch, and the gradient does not depend on their count.
  bool sum_microbatches = false;
};

class Trainer {
 public:
  /// `parameters` must outlive the trainer.
  Trainer(const ParameterList& parameters, const TrainerOptions& options);

  /// Takes step `step` (from 0) on `batch` samples. `mean_loss` gives the mean loss of samples
  /// [begin, end). Adds grad_norm, param_norm (from before the step) and, with a loss scale,
  /// lg_loss_scale to `log`. Returns whether the parameters moved: an overflow only lowers the
  /// scale. Throws Error(failed) when the training has diverged; nothing has moved then.
  bool step(std::int64_t step, std::int64_t batch, const MicrobatchLoss& mean_loss, LogMeans& log);
  /// The second half of step(): from gradients, which carry the loss scale's factor.
  bool apply(std::int64_t step, const ParameterGradients& gradients, LogMeans& log);

  const TrainerOptions& options() const { return options_; }
  const ParameterList& parameters() const { return parameters_; }
  AdamW& optimizer() { return optimizer_; }
  const AdamW& optimizer() const { return optimizer_; }
  LossScale& loss_scale() { return loss_scale_; }
  const LossScale& loss_scale() const { return loss_scale_; }

  struct Average {
    Ema ema;
    std::int64_t updates = 0;
  };
  std::vector<Average>& averages() { return averages_; }
  const std::vector<Average>& averages() const { return averages_; }

 private:
  const ParameterList& parameters_;
  TrainerOptions options_;
  ParameterGradients gradients_;
  AdamW optimizer_;
  LossScale loss_scale_;
  std::vector<Average> averages_;
  bool loss_is_finite_ = true;  // of the step that runs
};

}  // namespace tiller
