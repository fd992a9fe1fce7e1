#include "tools/sampling/draw.h"

#include "tools/pictures/pixels.h"
#include "tools/sampling/denoiser.h"

namespace tiller {

Tensor draw_samples(const Drawer& drawer, const std::vector<std::int64_t>& labels,
                    std::int64_t first) {
  const auto n = static_cast<std::int64_t>(labels.size());
  Denoiser denoiser(*drawer.unet, drawer.scale != 0 ? drawer.guide : nullptr, drawer.scale,
                    *drawer.diffusion);
  denoiser.start(n, Tensor::from(labels, {n}));
  const NoiseSource noise = [host = philox_noise(drawer.seed, static_cast<std::uint32_t>(first)),
                             device = denoiser.device()](std::int64_t draw, const Shape& shape) {
    return host(draw, shape).to(device);
  };
  SampleOptions options = drawer.sampler;
  options.step_noise = StepNoise{drawer.seed, static_cast<std::uint32_t>(first)};
  Sampler sampler(*drawer.diffusion, denoiser.model(), denoiser.guide(), options,
                  {n, drawer.side, drawer.side, drawer.unet->config().in_channels}, noise);
  // A step that is replayed cannot be looked into.
  if (options.graph) denoiser.follow(sampler.state(), backend(denoiser.device()).captures());
  while (!sampler.done()) {
    const StepOutput out = sampler.next();
    if (drawer.on_step) drawer.on_step(out.step);
  }
  TILLER_CHECK(denoiser.numbers_are_finite() && all_finite(sampler.sample()),
               "NaN or infinity in the samples: do the diffusion flags fit the checkpoint?");
  return to_pixels(sampler.sample());
}

}  // namespace tiller
