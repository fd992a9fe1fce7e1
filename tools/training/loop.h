#pragma once
// The loop of both training commands: steps, lines of the log, validation, checkpoints.
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "tools/data/loader.h"
#include "tools/training/objective.h"
#include "tools/training/run_log.h"
#include "tools/training/state.h"
#include "tools/training/trainer.h"

namespace tiller {

/// All that a training is. Pointers must outlive it.
struct TrainingRun {
  std::string folder;
  Trainer* trainer = nullptr;
  ScheduleSampler* sampler = nullptr;
  Loader* data = nullptr;        ///< null where `inputs` gives all
  Loader* validation = nullptr;  ///< null: none
  RunLog* files = nullptr;
  LogMeans log;
  DrawOptions draw;
  std::int64_t batch_size = 1;
  std::int64_t first_step = 0;
  std::int64_t total = 0;        ///< steps in all; 0: until it is interrupted
  double estimated_seconds = 0;  ///< of a step, as it was announced; 0: it was not
  std::int64_t log_interval = 10, save_interval = 10000, eval_interval = 5;
  bool save_first_step = false;  ///< image_train saves behind step 0, classifier_train does not
  std::int64_t keep = 0;         ///< checkpoints that stay; 0: all
  bool openai_files = true;      ///< write model, ema and opt files as well
  bool flat_optimizer = false;   ///< in half precision's form
  bool overfit_one_batch = false;
  std::string loss_key = "loss";                ///< what the line of progress shows
  std::map<std::string, std::string> flags;     ///< given ones, for the state
  std::map<std::string, std::string> metadata;  ///< describes the network
  /// What a step looks at; empty: drawn from `data`.
  std::function<StepInputs(std::int64_t step)> inputs;
  /// The mean loss of samples [begin, end).
  std::function<Var(const StepInputs&, std::int64_t begin, std::int64_t end, LogMeans&)> loss;
  /// Logs the losses of a batch of the validation set; nothing is recorded.
  std::function<void(const StepInputs&, LogMeans&)> validate;
  /// Called at each save, may write a sheet of pictures.
  std::function<void(std::int64_t step)> at_save;
};

/// Runs steps first_step .. total - 1. Throws Error(interrupted) behind a checkpoint when SIGINT or
/// SIGTERM came, Error(failed) when the training diverges (nothing of the last step is kept) or a
/// file cannot be written.
void run_training(TrainingRun& run);

}  // namespace tiller
