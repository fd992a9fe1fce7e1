#include "diffusion/sampler.h"

#include "autograd/ops.h"

namespace tiller {

NoiseSource philox_noise(std::uint64_t seed, std::uint32_t first_sample) {
  return [seed, first_sample](std::int64_t draw, const Shape& shape) {
    const Tensor noise = Tensor::empty(shape);
    fill_normal(noise, {.seed = seed,
                        .sample = first_sample,
                        .step = static_cast<std::uint32_t>(draw),
                        .stream = draw == 0 ? RandomStream::x_start : RandomStream::step_noise});
    return noise;
  };
}

Sampler::Sampler(const GaussianDiffusion& diffusion, Model model, Guide guide,
                 SampleOptions options, const Shape& shape, NoiseSource noise, const Tensor& start)
    : diffusion_(diffusion),
      model_(std::move(model)),
      guide_(std::move(guide)),
      options_(std::move(options)),
      noise_(std::move(noise)),
      x_(start ? start : noise_(0, shape)),
      step_(diffusion.steps() - 1) {
  // Above 1 the noise can ask for more variance than a step has: sigma^2 > 1 - abar_prev.
  if (!(options_.eta >= 0 && options_.eta <= 1))
    fail(ErrorKind::usage, fmt::format("--eta {}: DDIM's eta lies between 0 (deterministic) and 1 "
                                       "(as noisy as DDPM)",
                                       options_.eta));
  TILLER_CHECK(model_, "a sampler needs a model");
  TILLER_CHECK(x_.shape() == shape, "the start noise is {}, not {}", to_string(x_),
               to_string(shape));
  options_.fused = options_.fused && !options_.denoised_fn;
  if (!options_.fused) return;
  table_ = step_table(diffusion, options_.eta).to(x_.device());
  state_ = Tensor::from(std::vector<std::int64_t>{step_, 1, 0, 0}, {4}, x_.device());
}

StepOutput Sampler::next() {
  TILLER_CHECK(!done(), "the sampler has finished");
  const NoGrad no_recording;
  const StepScope step_scope(draw_ - 1);
  const Tensor timestep = diffusion_.timesteps(same_step(step_, x_.dim(0))).to(x_.device());
  Tensor output, gradient;
  {
    const PhaseScope phase("unet");
    output = model_(x_, timestep).value();
  }
  if (guide_) {
    const PhaseScope phase("classifier");
    gradient = guide_(x_, timestep);
    TILLER_CHECK(gradient.shape() == x_.shape(), "the guide gave {} for x {}", to_string(gradient),
                 to_string(x_));
  }
  const PhaseScope phase("sampler");
  // Drawn at every step, needed or not, as PyTorch's sampler does: a generator with a state then
  // stands where PyTorch's would.
  const Tensor noise = noise_(draw_, x_.shape());
  StepOutput out;
  if (options_.fused)
    out = fused_step(output, gradient, noise);
  else if (options_.ddim)
    out = ddim_step(diffusion_, output, x_, step_, gradient, noise, options_);
  else
    out = ddpm_step(diffusion_, output, x_, step_, gradient, noise, options_);
  x_ = out.sample;
  --step_;
  ++draw_;
  return out;
}

StepOutput Sampler::fused_step(const Tensor& output, const Tensor& gradient, const Tensor& noise) {
  SamplerStepArgs args;
  args.x = x_;
  args.model = output;
  args.gradient = gradient;
  args.noise = noise;
  args.table = table_;
  args.state = state_;
  args.y = Tensor::empty_like(x_);
  args.x_start = Tensor::empty_like(x_);
  args.mean = diffusion_.config().mean;
  args.variance = diffusion_.config().variance == VarianceType::learned_range
                      ? VarianceKind::learned_range
                  : diffusion_.config().variance == VarianceType::learned ? VarianceKind::learned
                                                                          : VarianceKind::fixed;
  args.ddim = options_.ddim;
  args.clip = options_.clip;
  step_sampler(args);
  return {step_, args.y, args.x_start, gradient};
}

}  // namespace tiller
