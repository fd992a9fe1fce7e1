#pragma once
// The demo's two architectures and its process: small enough to train while one watches.
#include <map>
#include <string>

#include "diffusion/gaussian_diffusion.h"
#include "nn/classifier.h"
#include "nn/config.h"
#include "nn/unet.h"

namespace tiller::demo {

/// An unconditional UNet: it never hears of classes.
UNetConfig unet_config();
ClassifierConfig classifier_config();

/// The process that both are trained on. `respacing` as --timestep_respacing.
DiffusionConfig process(const std::string& respacing = "");

/// Writes weights in PyTorch's order and names, with the configuration as metadata: `tiller sample`
/// needs no flags. Atomic.
void save(const std::string& path, const UNet& unet);
void save(const std::string& path, const Classifier& classifier);

}  // namespace tiller::demo
