#pragma once
// What a run says before it starts.
#include <cstdint>
#include <string>
#include <vector>

#include "tools/flags/flags.h"
#include "tools/network.h"

namespace tiller {

/// What a run will hold in memory, by running its networks on meta.
struct MemoryPlan {
  std::size_t weights = 0;      ///< of both networks, as they are kept
  std::size_t packed = 0;       ///< the kernels' own forms of them
  std::size_t activations = 0;  ///< most at once, at the batch size, with all steps' embeddings
  std::size_t total() const { return weights + packed + activations; }
};
/// `weights`: as --weights says on the CPU; none: f32 on the device, which may change.
MemoryPlan plan_memory(const Inference& unet, const Inference* classifier, std::int64_t batch,
                       std::int64_t steps, const Shape& picture,
                       std::optional<FrozenWeights> weights = std::nullopt);

/// The largest halving of `batch` whose plan fits into this machine's memory, at least 1.
std::int64_t fitting_batch(const Inference& unet, const Inference* classifier, std::int64_t batch,
                           std::int64_t steps, const Shape& picture,
                           std::optional<FrozenWeights> weights = std::nullopt);

/// Bytes of memory in this machine.
std::size_t machine_memory();

/// "model   text" on stderr, further lines of the text indented.
void announce(const std::string& what, const std::string& text);
void warn(const std::string& text);

/// A network in words, with its file and what was assumed of it.
void announce_network(const std::string& what, const Network& network);
/// The device line and the memory line.
void announce_device(Device device);
void announce_memory(const MemoryPlan& plan, std::int64_t batch);

/// The run's configuration as PNG text: the program, the seed, the networks' architectures as
/// guided-diffusion's flags, and the flags of the run: those that were given, and `resolved` ones,
/// which the checkpoints settled.
std::map<std::string, std::string> configuration_text(
    const Flags& flags, const std::map<std::string, std::string>& resolved, const Network& unet,
    const Network* classifier);

/// The command line that makes the picture of one index again: the given flags without those that
/// do not change it, with `replaced` ones.
std::string command_line(const Flags& flags, const std::map<std::string, std::string>& replaced);

}  // namespace tiller
