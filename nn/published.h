#pragma once
// Checkpoints that are known by name: OpenAI's fifteen of guided-diffusion, those of
// improved-diffusion, and widely used community models. Each is a configuration; a network built
// from it on meta has the names and shapes by which a file is recognised.
#include <span>
#include <string>
#include <vector>

#include "nn/infer.h"

namespace tiller {

/// The settings of a known model that matter to inference, in the words of guided-diffusion's
/// flags.
struct KnownModel {
  const char* name;
  NetworkKind kind;
  std::int64_t image_size;
  std::int64_t channels;
  std::int64_t res_blocks;
  const char* channel_mult;
  const char* attention_downsample;
  std::int64_t heads;  ///< used where head_channels is -1
  std::int64_t head_channels;
  bool class_cond;
  bool scale_shift;
  bool updown;
  double dropout = 0;
  QkvOrder order = QkvOrder::legacy;
  const char* noise_schedule = "linear";
  int diffusion_steps = 1000;
  bool rescale_timesteps = false;
};

std::span<const KnownModel> known_models();

/// Its configuration. Throws Error when the model is of the other kind.
UNetConfig unet_config(const KnownModel& model);
ClassifierConfig classifier_config(const KnownModel& model);

/// The diffusion flags with which it was trained.
DiffusionHints diffusion_hints(const KnownModel& model);

/// "1,2,0.5" as numbers. Throws Error(usage) naming `flag`.
std::vector<double> parse_numbers(const std::string& text, const char* flag);

}  // namespace tiller
