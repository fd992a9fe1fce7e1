#pragma once
// Flags to architectures: guided-diffusion's create_model, sr_create_model and create_classifier.
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "nn/config.h"
#include "tools/flags/flags.h"

namespace tiller {

/// The level widths that guided-diffusion implies by the image size (64, 128, 256, 512):
/// create_model and create_classifier. Throws Error(usage) for another size, naming `flag`, which
/// then must be given.
std::vector<double> implied_channel_mult(std::int64_t image_size,
                                         std::string_view flag = "channel_mult");
/// The same of sr_create_model: large sizes 64, 256, 512 (512 without the half-wide first level).
std::vector<double> implied_channel_mult_superres(std::int64_t large_size);

/// Whether the flags ask for a super-resolution network: --large_size or --small_size was given, or
/// the command knows no --image_size.
bool asks_super_resolution(const Flags& flags);

/// The diffusion network that the flags, given or default, describe. Throws Error(usage).
UNetConfig unet_config(const Flags& flags);
/// The classifier that the flags describe. Throws Error(usage).
ClassifierConfig classifier_config(const Flags& flags);

/// The network's flags that were given, by guided-diffusion's names, as text: what nn/infer lets
/// win over a checkpoint's shapes.
std::map<std::string, std::string> given_network_flags(const Flags& flags);

}  // namespace tiller
