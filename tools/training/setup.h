#pragma once
// What both training commands settle from their flags in the same way.
#include <memory>
#include <string>
#include <vector>

#include "nn/infer.h"
#include "tools/data/loader.h"
#include "tools/flags/flags.h"
#include "tools/training/loop.h"

namespace tiller {

/// Where a training starts.
struct Start {
  Flags flags;            ///< the given ones over those of the run that goes on
  std::string folder{};   ///< --out, else OPENAI_LOGDIR, else out/COMMAND
  std::string state{};    ///< the state to go on from, or ""
  std::string weights{};  ///< guided-diffusion's model file to go on from, or ""
  std::int64_t first_step = 0;
  RunPosition position{};                  ///< of `state`
  std::vector<std::string> class_names{};  ///< of `state`, in the order of their numbers
};

/// Settles --resume and --resume_checkpoint and makes the folder. Throws Error(usage) where a folder
/// holds a run and nothing says whether to go on with it.
Start find_start(const Flags& flags);

/// The diffusion process of the flags, and the same as text for a checkpoint's metadata.
DiffusionConfig process_from_flags(const Flags& flags, bool learn_sigma);
DiffusionHints process_as_hints(const Flags& flags);

/// Pictures and their order.
struct TrainingData {
  std::unique_ptr<Loader> training, validation;  // validation may be null
  std::int64_t channels = 3;
  std::int64_t num_classes = 0;          ///< --num_classes, or the data's count
  std::vector<std::string> class_names;  ///< empty without classes
};
/// Opens --data_dir and --val_data_dir. `classes`: whether the network needs labels. A run that goes
/// on numbers its classes as before, and a validation set is numbered as the training set. Throws
/// Error(usage) for missing folders and too small a --num_classes.
TrainingData open_data(const Start& start, bool classes, std::int64_t image_size);

/// Rates, decay, averages and precision.
TrainerOptions trainer_options(const Flags& flags, AnnealOrder order, DType torso, double lg_start);

/// f16 with `use_fp16`, bf16 with --use_bf16. Throws Error(usage) for both.
DType torso_of(const Flags& flags, bool use_fp16);

/// Removes what writes left in `folder` when their program was killed within them: files named
/// NAME.tmp-PID-N (runtime/files/atomic_file.h) of processes that are no more.
void remove_torn_files(const std::string& folder);

/// Fills what does not depend on the network: intervals, files, positions. Opens the log.
void settle_run(const Start& start, const TrainingData& data, TrainingRun& run,
                std::unique_ptr<RunLog>& files);

/// Describes a network for its checkpoints.
std::map<std::string, std::string> network_metadata(const Inference& inference,
                                                    const std::vector<std::string>& class_names);

/// Puts a saved training back: everything of start.state, or averages and moments beside
/// start.weights, whose weights the network has. Says on stderr what was found.
void restore(const Start& start, TrainingRun& run);

/// The lines on the network's cost: parameters, memory against the machine's, arithmetic and time
/// per step. `steps`: those to come, 0 without an end. Returns the estimated seconds of a step, 0
/// where there is no estimate (on simt).
double announce_plan(const Inference& inference, const TrainerOptions& options, std::int64_t batch,
                     std::int64_t steps, Device device);

}  // namespace tiller
