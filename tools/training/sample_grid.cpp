#include "tools/training/sample_grid.h"

#include <algorithm>

#include "diffusion/sampler.h"
#include "nn/unet.h"

namespace tiller {

Tensor BorrowedParameters::get(const std::string& key, const Shape& shape,
                               const std::vector<std::int64_t>& /*file_shape*/,
                               FileLayout /*layout*/, const Init& /*init*/) {
  const Parameter* found = weights_.find(key);
  TILLER_CHECK(found && found->value.shape() == shape, "the averages have no {} of shape {}", key,
               to_string(shape));
  return found->value;
}

Tensor draw_grid(const UNetConfig& config, const ParameterList& weights, DiffusionConfig process,
                 const GridOptions& options) {
  const NoGrad no_recording;
  BorrowedParameters source(weights);
  const UNet unet(config, source);
  process.timestep_respacing = std::to_string(std::min(options.steps, process.diffusion_steps));
  const GaussianDiffusion diffusion(process);
  const Device device = weights.all().front().value.device();
  Tensor y;
  if (options.classes > 0) {
    std::vector<std::int64_t> labels;
    for (std::int64_t i = 0; i < options.count; ++i) labels.push_back(i % options.classes);
    y = Tensor::from(labels, {options.count}, device);
  }
  const Model model = [&](const Var& x, const Tensor& timestep) {
    return unet(x, timestep, y, options.low_res.defined() ? Var(options.low_res) : Var());
  };
  const NoiseSource noise = [host = philox_noise(options.seed, 0), device](std::int64_t draw,
                                                                           const Shape& shape) {
    return host(draw, shape).to(device);
  };
  Sampler sampler(diffusion, model, {}, {.ddim = true},
                  {options.count, config.image_size, config.image_size, config.in_channels}, noise);
  while (!sampler.done()) sampler.next();
  return sampler.sample();
}

}  // namespace tiller
