#include "tools/demo_shapes/networks.h"

#include <nlohmann/json.hpp>

#include "nn/infer.h"
#include "runtime/files/checkpoint.h"
#include "tools/demo_shapes/shapes.h"

namespace tiller::demo {

UNetConfig unet_config() {
  UNetConfig config;
  config.image_size = kSide;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2, 2};
  config.attention_downsample = {4};
  config.num_heads = 2;
  return config;
}

ClassifierConfig classifier_config() {
  ClassifierConfig config;
  config.image_size = kSide;
  config.num_classes = kClasses;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2, 2};
  config.attention_downsample = {4};
  config.num_head_channels = 32;
  return config;
}

DiffusionConfig process(const std::string& respacing) {
  DiffusionConfig config;
  config.diffusion_steps = 1000;
  config.noise_schedule = "cosine";
  config.timestep_respacing = respacing;
  // Flat colours are easier to predict than noise: a network this small learns them in minutes.
  config.mean = MeanKind::x_start;
  config.variance = VarianceType::fixed_small;
  return config;
}

namespace {
void save(const std::string& path, Inference inference, const ParameterList& parameters) {
  const DiffusionConfig config = process();
  inference.diffusion = {{"diffusion_steps", std::to_string(config.diffusion_steps)},
                         {"noise_schedule", config.noise_schedule},
                         {"predict_xstart", "True"},
                         {"learn_sigma", "False"},
                         {"sigma_small", "True"},
                         {"rescale_timesteps", "False"}};
  auto metadata = config_metadata(inference);
  metadata["tiller.classes"] = nlohmann::json(kClassNames).dump();
  write_safetensors(path, state_dict(parameters), metadata);
}
}  // namespace

void save(const std::string& path, const UNet& unet) {
  Inference inference;
  inference.kind = NetworkKind::unet;
  inference.unet = unet.config();
  save(path, inference, unet.parameters());
}

void save(const std::string& path, const Classifier& classifier) {
  Inference inference;
  inference.kind = NetworkKind::classifier;
  inference.classifier = classifier.config();
  save(path, inference, classifier.parameters());
}

}  // namespace tiller::demo
