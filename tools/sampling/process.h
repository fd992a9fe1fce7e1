#pragma once
// Which diffusion process a checkpoint wants, and how strongly to guide it.
#include <string>
#include <vector>

#include "diffusion/gaussian_diffusion.h"
#include "nn/infer.h"
#include "tools/flags/flags.h"

namespace tiller {

/// A process, and lines for the user about what was assumed.
struct Process {
  DiffusionConfig config;
  std::vector<std::string> notes;
};

/// The process of a diffusion network. A given flag wins over what the checkpoint tells (metadata,
/// a published model), which wins over guided-diffusion's default; learn_sigma follows from the
/// network's output channels.
Process process_of(const Flags& flags, const Inference& unet);

/// A guidance scale, and where it comes from, in words.
struct ScaleAdvice {
  double scale = 1;
  std::string source;
};

/// The scale with which a published model makes its best pictures (Dhariwal & Nichol 2021, table
/// 14: 250 steps of DDPM, 25 of DDIM; OpenAI's README for the unconditional one), or
/// guided-diffusion's default, 1.
ScaleAdvice recommended_scale(const std::string& published, bool ddim);

/// A warning when a classifier's stored schedule gives other noise levels than the process at the
/// timesteps that it will see; "" when they agree or the classifier's file does not tell.
std::string schedule_mismatch(const GaussianDiffusion& diffusion, const DiffusionHints& classifier);

/// A warning when guided DDIM begins where next to nothing of the picture is left, or "". Its step
/// moves x_0 by (1 - abar) / sqrt(abar) times the gradient (algorithm 2 with eq. 15): 20,000 times at
/// the cosine schedule's last step. DDIM's own spacing ("ddim50") begins before it.
std::string blind_start(const GaussianDiffusion& diffusion, bool ddim);

/// "DDIM, 25 of 1000 steps, linear schedule".
std::string in_words(const GaussianDiffusion& diffusion, bool ddim, double eta);

}  // namespace tiller
