#pragma once
// The point of the demo: a classifier steers a network that knows no classes.
#include <cstdint>
#include <functional>

#include "diffusion/gaussian_diffusion.h"
#include "nn/classifier.h"
#include "nn/unet.h"

namespace tiller::demo {

/// Draws one picture per label by DDPM, from noise that depends on `seed` and the picture's index
/// alone: with the same seed, every scale starts from the same noise and meets the same noise on
/// its way. The guide is scale * log p(label | x_t); no classifier runs at scale 0. `on_step` is
/// called after each step with the number of steps of single pictures that are done, and may throw.
/// labels [N] i64 -> [N,kSide,kSide,3] f32, about [-1,1].
Tensor steer(const UNet& unet, const Classifier& classifier, const GaussianDiffusion& diffusion,
             double scale, const Tensor& labels, std::uint64_t seed,
             const std::function<void(std::int64_t)>& on_step = {});

/// The share of pictures x [N,kSide,kSide,3], taken as free of noise, in which the classifier sees
/// the label [N] i64 before all others.
double accuracy(const Classifier& classifier, const Tensor& x, const Tensor& labels);

}  // namespace tiller::demo
