#pragma once
// Everything that a training is at the end of a step, in one safetensors file: going on from it
// gives the bits of a training that never stopped.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "diffusion/schedule_sampler.h"
#include "runtime/files/checkpoint.h"
#include "tools/training/log_means.h"
#include "tools/training/trainer.h"

namespace tiller {

/// What is not a tensor.
struct RunPosition {
  std::int64_t step = -1;                      ///< last step done
  std::int64_t data = 0;                       ///< pictures consumed: Loader::position()
  std::int64_t validation = 0;                 ///< likewise, of the validation set
  std::map<std::string, std::string> flags{};  ///< those that were given
};

/// FOLDER/checkpoint{step:06}.safetensors.
std::string state_file(const std::string& folder, std::int64_t step);

/// Writes weights (model/NAME), averages (ema_RATE/NAME), moments (exp_avg/NAME, exp_avg_sq/NAME),
/// a loss-aware sampler's history and, as metadata (tiller.training, JSON), counts, positions, the
/// loss scale and half-gathered means of the log. `metadata` describes the network. Atomic. Random
/// numbers are drawn by (seed, step, place), so that the step is the generator's position.
void write_state(const std::string& path, const RunPosition& position, const Trainer& trainer,
                 const ScheduleSampler& sampler, const LogMeans& log,
                 std::map<std::string, std::string> metadata);

/// What the file says about itself, before a network is built. Throws Error(checkpoint) for a file
/// that write_state did not write.
RunPosition read_position(const Checkpoint& file);

/// Puts everything back. Throws Error(checkpoint) naming what does not fit. Returns lines for the
/// user: averages that the file has not, for instance.
std::vector<std::string> read_state(const Checkpoint& file, Trainer& trainer,
                                    ScheduleSampler& sampler, LogMeans& log);

/// The newest state in a folder that can be read, "" when there is none; damaged ones are named in
/// `notes`.
std::string newest_state(const std::string& folder, std::vector<std::string>& notes);

/// Steps of the states in a folder, ascending.
std::vector<std::int64_t> saved_steps(const std::string& folder);

/// A network's weights alone, under their own names, where `file` is a training's state: those of
/// its first average, or without one the last step's. Any other file is returned as it is.
Checkpoint network_weights(const Checkpoint& file, bool averaged = true);

}  // namespace tiller
