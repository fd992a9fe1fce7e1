#pragma once
// The architecture, read off a checkpoint's names and shapes, so that nobody types fifteen flags.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "nn/config.h"
#include "runtime/files/checkpoint.h"

namespace tiller {

enum class NetworkKind : std::uint8_t { unet, super_resolution, classifier };
const char* name(NetworkKind kind);

/// What the user said: flags that were given, by guided-diffusion's names, as text. A given flag
/// always wins over what is inferred; one that contradicts the shapes is an error that names it.
using GivenFlags = std::map<std::string, std::string>;

/// Diffusion settings that belong to a checkpoint but not to its network, where they are known
/// (from metadata or a published model): diffusion_steps, noise_schedule, rescale_timesteps, ... as
/// flags.
using DiffusionHints = std::map<std::string, std::string>;

struct Inference {
  NetworkKind kind = NetworkKind::unet;
  UNetConfig unet;              ///< when kind is unet or super_resolution
  ClassifierConfig classifier;  ///< when kind is classifier
  DiffusionHints diffusion;
  /// Name of the published model whose keys and shapes these are ("64x64_diffusion"), or "".
  /// Several may look alike ("256x256_diffusion_uncond, lsun_bedroom, ...").
  std::string published;
  /// Lines for the user: what shapes cannot tell and was assumed, with the flag that would change
  /// it.
  std::vector<std::string> assumed;
};

/// Names and shapes in PyTorch's order: all that inference looks at.
struct NamedShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
std::vector<NamedShape> named_shapes(const Checkpoint& checkpoint);

/// Infers the network. `metadata` may hold Tiller's own configuration ("tiller.config"), which
/// settles everything. Throws Error(checkpoint) when the tensors are no guided-diffusion network
/// (saying what they look like: an optimizer file, another family), Error(usage) when a needed
/// value can only come from a flag, by the flag's name.
Inference infer(const std::vector<NamedShape>& tensors,
                const std::map<std::string, std::string>& metadata = {},
                const GivenFlags& given = {}, const std::string& file_name = {});
Inference infer(const Checkpoint& checkpoint, const GivenFlags& given = {});

/// The metadata under which a network's configuration travels in a safetensors file.
std::map<std::string, std::string> config_metadata(const Inference& inference);

}  // namespace tiller
