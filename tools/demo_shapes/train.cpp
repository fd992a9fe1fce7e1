#include "tools/demo_shapes/train.h"

#include <algorithm>
#include <cmath>

#include "diffusion/losses.h"
#include "nn/optimizer.h"
#include "runtime/random.h"
#include "runtime/trace.h"
#include "tools/demo_shapes/shapes.h"

namespace tiller::demo {

namespace {

/// What one step of either network learns from.
struct Batch {
  Shapes shapes;
  Tensor step;   // [N] i64 of the process
  Tensor noise;  // [N,kSide,kSide,3]
};

Batch draw_batch(const TrainingOptions& options, const GaussianDiffusion& diffusion,
                 std::int64_t number) {
  const std::int64_t first = number * options.batch;
  const auto sample = static_cast<std::uint32_t>(first);
  Batch batch{draw_shapes(options.seed, first, options.batch),
              Tensor::empty({options.batch}, DType::i64),
              Tensor::empty({options.batch, kSide, kSide, 3})};
  philox_integers({.seed = options.seed, .sample = sample, .stream = RandomStream::timestep},
                  options.batch, static_cast<std::uint32_t>(diffusion.steps()),
                  batch.step.data<std::int64_t>());
  fill_normal(batch.noise,
              {.seed = options.seed, .sample = sample, .stream = RandomStream::step_noise});
  return batch;
}

// Writes the averages into the network: they draw better than the last values do (Ho et al. 2020,
// appendix B).
void keep(const ParameterList& averages, const ParameterList& parameters) {
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Tensor& value = parameters.all()[i].value;
    value.copy_from(averages.all()[i].value);
    value.bump_version();
  }
}

TrainingStep train_network(const ParameterList& parameters, const GaussianDiffusion& diffusion,
                           const TrainingOptions& options,
                           const std::function<Var(const Batch&)>& loss_of) {
  ParameterGradients gradients(parameters);
  AdamW optimizer(parameters, {.weight_decay = options.weight_decay});
  Ema average(parameters, options.ema_rate);
  const std::int64_t begin = now_ns();
  TrainingStep state{0, 0, 0};
  while (state.step < options.steps && state.seconds < options.max_seconds) {
    const Batch batch = draw_batch(options, diffusion, state.step);
    Tape tape;
    gradients.clear();
    gradients.watch(tape);
    {
      const TapeGuard recording(tape);
      const Var loss = reduce_mean(loss_of(batch));  // [N] -> [1]
      state.loss = loss.value().to_vector<float>().front();
      TILLER_CHECK(std::isfinite(state.loss), "the loss became {} at step {}", state.loss,
                   state.step + 1);
      const PhaseScope phase("backward");
      tape.backward(loss, {}, gradients);
    }
    const PhaseScope phase("optimizer");
    const auto done = static_cast<double>(++state.step);
    optimizer.step(gradients,
                   options.lr * std::min(1.0, done / static_cast<double>(options.warmup + 1)));
    // The average of the first steps would be of the start: let it forget as fast as it has seen.
    average.update(std::min(options.ema_rate, done / (done + 10)));
    state.seconds = static_cast<double>(now_ns() - begin) * 1e-9;
    if (options.on_step) options.on_step(state);
  }
  keep(average.parameters(), parameters);
  return state;
}

}  // namespace

TrainingStep train(const UNet& unet, const GaussianDiffusion& diffusion,
                   const TrainingOptions& options) {
  const Model model = [&](const Var& x_t, const Tensor& timestep) { return unet(x_t, timestep); };
  return train_network(unet.parameters(), diffusion, options, [&](const Batch& batch) {
    return training_losses(diffusion, model, batch.shapes.x, batch.step, batch.noise).loss;
  });
}

TrainingStep train(const Classifier& classifier, const GaussianDiffusion& diffusion,
                   const TrainingOptions& options) {
  return train_network(classifier.parameters(), diffusion, options, [&](const Batch& batch) {
    const Var x_t = diffusion.q_sample(batch.shapes.x, batch.step, batch.noise);
    return cross_entropy(classifier(x_t, diffusion.timesteps(batch.step)), batch.shapes.labels);
  });
}

}  // namespace tiller::demo
