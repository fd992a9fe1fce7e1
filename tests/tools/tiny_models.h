#pragma once
// Networks with random weights under the names of the trained ones beside the program.
#include <nlohmann/json.hpp>

#include "nn/classifier.h"
#include "tests/tools/sample_util.h"
#include "tools/demo_cifar/models.h"

namespace tiller::testing {

/// A classifier of 8-pixel pictures in a file that tells its configuration and its classes.
inline std::string write_random_classifier(const std::string& path, std::uint64_t seed,
                                           const std::vector<std::string>& names) {
  ClassifierConfig config;
  config.image_size = 8;
  config.num_classes = static_cast<std::int64_t>(names.size());
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1};
  config.attention_downsample = {};
  config.num_head_channels = 32;
  const auto source = randomize_parameters(seed);
  const Classifier network(config, *source);
  Inference inference;
  inference.kind = NetworkKind::classifier;
  inference.classifier = config;
  inference.diffusion = {{"noise_schedule", "cosine"}, {"diffusion_steps", "1000"}};
  auto metadata = config_metadata(inference);
  metadata["tiller.classes"] = nlohmann::json(names).dump();
  write_safetensors(path, state_dict(network.parameters()), metadata);
  return path;
}

/// The four networks of the demo in a folder.
inline std::string write_tiny_models(const std::string& folder,
                                     const std::vector<std::string>& names = {"cat", "dog",
                                                                              "emu"}) {
  std::filesystem::create_directories(folder);
  write_random_unet(folder + "/" + demo::kUnetFile, smallest_unet());
  UNetConfig conditional = smallest_unet();
  conditional.num_classes = static_cast<std::int64_t>(names.size());
  write_random_unet(folder + "/" + demo::kConditionalUnetFile, conditional);
  write_random_classifier(folder + "/" + demo::kGuideFile, 11, names);
  write_random_classifier(folder + "/" + demo::kJudgeFile, 12, names);
  return folder;
}

}  // namespace tiller::testing
