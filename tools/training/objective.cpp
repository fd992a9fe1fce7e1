#include "tools/training/objective.h"

#include <algorithm>

#include "autograd/ops.h"
#include "nn/module.h"

namespace tiller {

namespace {

Tensor drop_classes(const Tensor& y, std::int64_t step, const DrawOptions& options) {
  if (!y.defined() || options.class_drop <= 0) return y;
  std::vector<std::int64_t> labels = y.to_vector<std::int64_t>();
  for (std::size_t n = 0; n < labels.size(); ++n) {
    float u = 0;
    philox_uniform({.seed = options.seed,
                    .sample = static_cast<std::uint32_t>(n),
                    .step = static_cast<std::uint32_t>(step),
                    .stream = RandomStream::classes},
                   1, &u);
    if (static_cast<double>(u) < options.class_drop) labels[n] = options.no_class;
  }
  return Tensor::from(labels, y.shape());
}

// Samples [begin, end) of what may be none.
Tensor part(const Tensor& all, std::int64_t begin, std::int64_t end) {
  return all.defined() ? all.slice(begin, end) : Tensor();
}

ForwardOptions training_options(const StepInputs& inputs, std::int64_t begin) {
  ForwardOptions options{.training = true, .key = inputs.dropout};
  options.key.sample += static_cast<std::uint32_t>(begin);
  return options;
}

}  // namespace

StepInputs draw_inputs(const Tensor& x, const Tensor& y, std::int64_t step,
                       const ScheduleSampler& sampler, const DrawOptions& options) {
  const RandomKey key{.seed = options.seed, .step = static_cast<std::uint32_t>(step)};
  const auto stream = [&](RandomStream stream) {
    RandomKey of = key;
    of.stream = stream;
    return of;
  };
  StepInputs in;
  in.x = x.to(options.device);
  if (const Tensor labels = drop_classes(y, step, options); labels.defined())
    in.y = labels.to(options.device);
  if (options.small_size > 0)
    in.low_res = resize_area(in.x, options.small_size, options.small_size).value();
  in.drawn = sampler.sample(x.dim(0), stream(RandomStream::timestep));
  in.drawn.step = in.drawn.step.to(options.device);
  in.drawn.weight = in.drawn.weight.to(options.device);
  in.noise = Tensor::empty_like(in.x);
  fill_normal(in.noise, stream(RandomStream::step_noise));
  in.dropout = stream(RandomStream::dropout);
  return in;
}

Var diffusion_objective(const UNet& unet, const GaussianDiffusion& diffusion,
                        const StepInputs& inputs, std::int64_t begin, std::int64_t end,
                        ScheduleSampler& sampler, LogMeans& log,
                        const std::optional<SnrClamp>& weighting) {
  const ForwardOptionsGuard guard(training_options(inputs, begin));
  const Tensor y = part(inputs.y, begin, end), low_res = part(inputs.low_res, begin, end);
  const Tensor step = inputs.drawn.step.slice(begin, end),
               weight = inputs.drawn.weight.slice(begin, end);
  const Model model = [&](const Var& x_t, const Tensor& timestep) {
    return unet(x_t, timestep, y, low_res.defined() ? Var(low_res) : Var());
  };
  const TrainingLosses losses = training_losses(diffusion, model, inputs.x.slice(begin, end), step,
                                                inputs.noise.slice(begin, end), weighting);
  const std::vector<std::int64_t> steps = step.to_vector<std::int64_t>();
  const std::vector<float> plain = losses.loss.value().to_vector<float>();
  sampler.update(steps, std::vector<double>(plain.begin(), plain.end()));
  const Var weighted = mul(losses.loss, weight);
  const auto add = [&](const char* key, const Var& values) {
    if (!values.defined()) return;
    log.add_by_quartile(key, mul(values.value(), weight).value().to_vector<float>(), steps,
                        diffusion.steps());
  };
  {
    const NoGrad no_recording;
    add("loss", losses.loss);
    add("mse", losses.mse);
    add("vb", losses.vb);
  }
  return reduce_mean(weighted);
}

Var classifier_objective(const Classifier& classifier, const GaussianDiffusion& diffusion,
                         const StepInputs& inputs, std::int64_t begin, std::int64_t end,
                         bool noised, const std::string& prefix, LogMeans& log) {
  const bool training = Tape::current() != nullptr;
  const ForwardOptionsGuard guard(training ? training_options(inputs, begin) : ForwardOptions{});
  const Tensor x = inputs.x.slice(begin, end), labels = inputs.y.slice(begin, end);
  Tensor step = inputs.drawn.step.slice(begin, end);
  if (!noised) step = same_step(0, end - begin, x.device());
  const Var x_t = noised ? diffusion.q_sample(x, step, inputs.noise.slice(begin, end)) : Var(x);
  const Var logits = classifier(x_t, diffusion.timesteps(step));
  const Var loss = cross_entropy(logits, labels);
  const std::vector<float> scores = logits.value().to_vector<float>();
  const std::vector<std::int64_t> wanted = labels.to_vector<std::int64_t>(),
                                  steps = step.to_vector<std::int64_t>();
  const auto classes = static_cast<std::size_t>(logits.dim(1));
  std::vector<float> top1, top5;
  for (std::size_t n = 0; n < wanted.size(); ++n) {
    const float* row = scores.data() + n * classes;
    const auto better =
        std::count_if(row, row + classes, [&](float s) { return s > row[wanted[n]]; });
    top1.push_back(better < 1 ? 1.F : 0.F);
    top5.push_back(better < 5 ? 1.F : 0.F);
  }
  log.add_by_quartile(prefix + "_loss", loss.value().to_vector<float>(), steps, diffusion.steps());
  log.add_by_quartile(prefix + "_acc@1", top1, steps, diffusion.steps());
  log.add_by_quartile(prefix + "_acc@5", top5, steps, diffusion.steps());
  return reduce_mean(loss);
}

}  // namespace tiller
