#pragma once
// What every command that needs a network does first: open the checkpoint, infer the architecture, let
// given flags win, load the weights, and say what was assumed.
#include <memory>
#include <string>
#include <vector>

#include "nn/classifier.h"
#include "nn/infer.h"
#include "nn/unet.h"
#include "tools/flags/flags.h"

namespace tiller {

/// A network and where it came from. Exactly one of unet and classifier is set.
struct Network {
  std::string path;
  Inference inference;
  std::unique_ptr<UNet> unet;
  std::unique_ptr<Classifier> classifier;
  std::vector<std::string> warnings;  ///< NaN weights and the like
  /// The classes' names by number, where the checkpoint has them (metadata tiller.classes, a JSON
  /// array of texts), else empty.
  std::vector<std::string> class_names;

  std::int64_t image_size() const;
  std::int64_t num_classes() const;
  const ParameterList& parameters() const;
};

/// Builds and loads the network of `inference` from a checkpoint.
Network load_network(const Checkpoint& checkpoint, const Inference& inference,
                     Device device = kCpu);

/// As load_network(), of a network that is not trained (nn/scope.h).
Network load_frozen_network(const Checkpoint& checkpoint, const Inference& inference,
                            FrozenWeights weights, Device device);

/// What --weights says.
FrozenWeights frozen_weights(const Flags& flags);

/// The network of inference without weights, on meta.
Network plan_network(const Inference& inference);
/// As it is when it is not trained.
Network plan_frozen_network(const Inference& inference);

/// Opens --model_path's file, which must hold a diffusion network. Throws Error(checkpoint) for a
/// classifier, saying which flag takes it.
Network open_model(const std::string& path, const Flags& flags, Device device = kCpu);
/// Opens --classifier_path's file, likewise.
Network open_classifier(const std::string& path, const Flags& flags, Device device = kCpu);

/// Warnings and assumptions, one line each, on stderr.
void print_notes(const Network& network);

/// The device of --device. Throws Error(usage) when it is not available.
Device device_of(const Flags& flags);

/// [N,C,H,W] to [N,H,W,C] and back; other ranks as they are.
Tensor channels_last(const Tensor& t);
Tensor channels_first(const Tensor& t);

}  // namespace tiller
