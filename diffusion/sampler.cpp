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
      step_(diffusion.steps() - 1),
      graph_(x_.device(), options_.graph) {
  // Above 1 the noise can ask for more variance than a step has: sigma^2 > 1 - abar_prev.
  if (!(options_.eta >= 0 && options_.eta <= 1))
    fail(ErrorKind::usage, fmt::format("--eta {}: DDIM's eta lies between 0 (deterministic) and 1 "
                                       "(as noisy as DDPM)",
                                       options_.eta));
  TILLER_CHECK(model_, "a sampler needs a model");
  TILLER_CHECK(x_.shape() == shape, "the start noise is {}, not {}", to_string(x_),
               to_string(shape));
  options_.fused = options_.fused && !options_.denoised_fn;
  options_.graph = options_.graph && options_.fused;
  if (!options_.fused) return;
  const Device device = x_.device();
  table_ = step_table(diffusion, options_.eta).to(device);
  state_ = first_state().to(device);
  if (!options_.graph) return;
  std::vector<float> seen;
  for (std::int64_t step = 0; step < diffusion.steps(); ++step)
    seen.insert(seen.end(), static_cast<std::size_t>(shape[0]), diffusion.timestep(step));
  timesteps_ = Tensor::from(seen, {diffusion.steps(), shape[0]}, device);
  x_ = x_.clone();  // it is written in place
  x_start_ = Tensor::empty_like(x_);
  if (!options_.step_noise) step_noise_ = Tensor::empty_like(x_);
}

// [4] i64 on the host: see StepState.
Tensor Sampler::first_state() const {
  const StepNoise own = options_.step_noise.value_or(StepNoise{});
  return Tensor::from(std::vector<std::int64_t>{diffusion_.steps() - 1, 1, own.first_sample,
                                                static_cast<std::int64_t>(own.seed)},
                      {4});
}

void Sampler::restart(NoiseSource noise, std::optional<StepNoise> step_noise) {
  TILLER_CHECK(options_.graph && options_.step_noise.has_value() == step_noise.has_value(),
               "a sampler restarts only as it started, and with SampleOptions::graph");
  noise_ = std::move(noise);
  options_.step_noise = step_noise;
  x_.copy_from(noise_(0, x_.shape()));
  state_.copy_from(first_state());
  step_ = diffusion_.steps() - 1;
  draw_ = 1;
}

StepOutput Sampler::next() {
  TILLER_CHECK(!done(), "the sampler has finished");
  const NoGrad no_recording;
  const StepScope step_scope(draw_ - 1);
  if (options_.graph) return graph_step();
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
  StepOutput out{step_, {}, {}, gradient};
  if (options_.fused) {
    out.sample = Tensor::empty_like(x_);
    out.x_start = Tensor::empty_like(x_);
    fused_step(output, gradient, noise, out);
  } else if (options_.ddim) {
    out = ddim_step(diffusion_, output, x_, step_, gradient, noise, options_);
  } else {
    out = ddpm_step(diffusion_, output, x_, step_, gradient, noise, options_);
  }
  x_ = out.sample;
  --step_;
  ++draw_;
  return out;
}

// The host's part of a step that may be a replay: what comes from outside, before it.
StepOutput Sampler::graph_step() {
  if (step_noise_) step_noise_.copy_from(noise_(draw_, x_.shape()));
  graph_.run([this] { device_step(); });
  const StepOutput out{step_, x_, x_start_, gradient_};
  --step_;
  ++draw_;
  return out;
}

// The device's part: nothing here depends on which step it is, but through state_, which the fused
// step advances.
void Sampler::device_step() {
  Tensor timestep;  // [N]
  {
    const PhaseScope phase("sampler");
    // The row of the table that the state stands at.
    timestep = embedding(timesteps_, state_.slice(0, 1)).value().reshape({x_.dim(0)});
  }
  Tensor output;
  const auto predict = [&] {
    const PhaseScope phase("unet");
    output = model_(x_, timestep).value();
  };
  if (guide_) {
    // Both depend on x_t alone, so they may run at the same time.
    run_side_by_side(x_.device(), predict, [&] {
      const PhaseScope phase("classifier");
      gradient_ = guide_(x_, timestep);
    });
    TILLER_CHECK(gradient_.shape() == x_.shape(), "the guide gave {} for x {}",
                 to_string(gradient_), to_string(x_));
  } else {
    predict();
  }
  const PhaseScope phase("sampler");
  fused_step(output, gradient_, step_noise_, {step_, x_, x_start_, gradient_});
}

void Sampler::fused_step(const Tensor& output, const Tensor& gradient, const Tensor& noise,
                         const StepOutput& out) {
  SamplerStepArgs args;
  args.x = x_;
  args.model = output;
  args.gradient = gradient;
  args.noise = noise;
  args.table = table_;
  args.state = state_;
  args.y = out.sample;
  args.x_start = out.x_start;
  args.mean = diffusion_.config().mean;
  args.variance = diffusion_.config().variance == VarianceType::learned_range
                      ? VarianceKind::learned_range
                  : diffusion_.config().variance == VarianceType::learned ? VarianceKind::learned
                                                                          : VarianceKind::fixed;
  args.ddim = options_.ddim;
  args.clip = options_.clip;
  step_sampler(args);
}

}  // namespace tiller
