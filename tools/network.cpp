#include "tools/network.h"

#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "tools/flags/architecture.h"
#include "tools/training/state.h"

namespace tiller {

std::int64_t Network::image_size() const {
  return classifier ? classifier->config().image_size : unet->config().image_size;
}

std::int64_t Network::num_classes() const {
  return classifier ? classifier->config().num_classes : unet->config().num_classes;
}

const ParameterList& Network::parameters() const {
  return classifier ? classifier->parameters() : unet->parameters();
}

namespace {
Network build(const Inference& inference, ParameterSource& source) {
  Network network;
  network.inference = inference;
  if (inference.kind == NetworkKind::classifier)
    network.classifier = std::make_unique<Classifier>(inference.classifier, source);
  else
    network.unet = std::make_unique<UNet>(inference.unet, source);
  network.warnings = source.warnings();
  return network;
}

// Names beyond or short of the network's classes are no names of its classes.
std::vector<std::string> class_names(const Checkpoint& checkpoint, std::int64_t num_classes) {
  const auto stored = checkpoint.metadata().find("tiller.classes");
  if (stored == checkpoint.metadata().end()) return {};
  const auto json = nlohmann::json::parse(stored->second, nullptr, false);
  std::vector<std::string> names;
  if (json.is_array())
    for (const auto& entry : json)
      if (entry.is_string()) names.push_back(entry.get<std::string>());
  if (static_cast<std::int64_t>(names.size()) != num_classes) return {};
  return names;
}

Network open(const std::string& path, const Flags& flags, Device device, bool classifier) {
  const Checkpoint checkpoint = network_weights(Checkpoint::open(path));
  const Inference inference = infer(checkpoint, given_network_flags(flags));
  if ((inference.kind == NetworkKind::classifier) != classifier)
    fail(ErrorKind::checkpoint,
         classifier ? fmt::format("{} holds a diffusion network, not a classifier; give it with "
                                  "--model_path",
                                  path)
                    : fmt::format("{} holds a classifier, not a diffusion network; give it with "
                                  "--classifier_path",
                                  path));
  Network network = load_frozen_network(checkpoint, inference, frozen_weights(flags), device);
  network.path = path;  // of a training's state only a part is read
  return network;
}
}  // namespace

namespace {
Network load(const Checkpoint& checkpoint, const Inference& inference, ParameterSource& source) {
  Network network = build(inference, source);
  network.path = checkpoint.path();
  network.class_names = class_names(checkpoint, network.num_classes());
  return network;
}
}  // namespace

Network load_network(const Checkpoint& checkpoint, const Inference& inference, Device device) {
  return load(checkpoint, inference, *load_parameters(checkpoint, DType::f32, device));
}

Network load_frozen_network(const Checkpoint& checkpoint, const Inference& inference,
                            FrozenWeights weights, Device device) {
  return load(checkpoint, inference, *freeze_parameters(checkpoint, weights, device));
}

FrozenWeights frozen_weights(const Flags& flags) {
  return flags.get<std::string>("weights") == "bf16" ? FrozenWeights::bf16
                                                     : FrozenWeights::as_stored;
}

Network plan_network(const Inference& inference) { return build(inference, *list_parameters()); }

Network plan_frozen_network(const Inference& inference) {
  return build(inference, *list_frozen_parameters());
}

Network open_model(const std::string& path, const Flags& flags, Device device) {
  return open(path, flags, device, false);
}

Network open_classifier(const std::string& path, const Flags& flags, Device device) {
  return open(path, flags, device, true);
}

void print_notes(const Network& network) {
  for (const std::string& line : network.warnings) fmt::print(stderr, "warning: {}\n", line);
  for (const std::string& line : network.inference.assumed)
    fmt::print(stderr, "{}: {}\n", network.path, line);
}

Device device_of(const Flags& flags) {
  const Device device = parse_device(flags.get<std::string>("device"));
  backend(device);  // says why when it cannot be used
  return device;
}

Tensor channels_last(const Tensor& t) {
  if (t.rank() != 4) return t;
  return from_file_layout(t, {t.dim(0), t.dim(2), t.dim(3), t.dim(1)}, FileLayout::oihw);
}

Tensor channels_first(const Tensor& t) {
  if (t.rank() != 4) return t;
  return to_file_layout(t, {t.dim(0), t.dim(3), t.dim(1), t.dim(2)}, FileLayout::oihw);
}

}  // namespace tiller
