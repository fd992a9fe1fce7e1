#include "tools/network.h"

#include "runtime/error.h"
#include "tools/flags/architecture.h"

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

Network open(const std::string& path, const Flags& flags, Device device, bool classifier) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  const Inference inference = infer(checkpoint, given_network_flags(flags));
  if ((inference.kind == NetworkKind::classifier) != classifier)
    fail(ErrorKind::checkpoint,
         classifier ? fmt::format("{} holds a diffusion network, not a classifier; give it with "
                                  "--model_path",
                                  path)
                    : fmt::format("{} holds a classifier, not a diffusion network; give it with "
                                  "--classifier_path",
                                  path));
  return load_network(checkpoint, inference, device);
}
}  // namespace

Network load_network(const Checkpoint& checkpoint, const Inference& inference, Device device) {
  const auto source = load_parameters(checkpoint, DType::f32, device);
  Network network = build(inference, *source);
  network.path = checkpoint.path();
  return network;
}

Network plan_network(const Inference& inference) {
  const auto source = list_parameters();
  return build(inference, *source);
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
