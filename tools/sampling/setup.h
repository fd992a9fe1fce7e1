#pragma once
// What `tiller sample` and `tiller upsample` settle from their flags in the same way.
#include <memory>
#include <optional>
#include <string>

#include "tools/flags/flags.h"
#include "tools/network.h"
#include "tools/sampling/announce.h"
#include "tools/sampling/run.h"

namespace tiller {

/// --use_ddim, --eta and --clip_denoised, with warnings on stderr where one has no effect.
SampleOptions sampler_options(const Flags& flags);

/// Whether a network's picture size is only assumed: neither its shapes nor a flag tell it.
bool size_is_guessed(const Network& network);

/// The picture's shape and the random numbers that --rng, --seed and --noise ask for.
struct DrawsChoice {
  std::unique_ptr<Draws> draws;
  Shape picture;            ///< [H,W,C]: the network's, or the noise's
  std::int64_t count = -1;  ///< samples that the noise file has; -1: no file
};
/// Throws Error(usage) for flags that contradict each other, and for a noise file that does not fit
/// the network or the process.
DrawsChoice choose_draws(const Flags& flags, const UNet& unet, std::int64_t steps);

/// "seed 0 (philox)".
std::string numbers_in_words(const Flags& flags);

/// Settles first_index, count and batch_size of a run, whose draws, networks, diffusion and picture
/// are set; prints the memory plan. `available` is how many pictures the input has, -1 without one.
/// The batch is lowered where its plan does not fit into memory and nobody asked for it. Throws
/// Error(usage) for an index or count beyond the input, or one that cannot be had from a generator
/// with a state.
void settle_counts(const Flags& flags, std::int64_t available, SamplingRun& run);

/// What each of the run's files says about it; `resolved` are the flags that the command settled.
/// `flags` must outlive it.
RunRecord make_record(const Flags& flags, const SamplingRun& run,
                      std::map<std::string, std::string> resolved,
                      const std::vector<std::string>& class_names);

}  // namespace tiller
