// tiller train-classifier: the noised classifier that steers the sampler (classifier_train.py).
#include <algorithm>

#include "tools/commands/commands.h"
#include "tools/flags/architecture.h"
#include "tools/sampling/announce.h"
#include "tools/training/setup.h"

namespace tiller {

namespace {

ClassifierConfig network_of(const Flags& flags, const TrainingData& data) {
  ClassifierConfig config = classifier_config(flags);
  config.in_channels = data.channels;
  config.num_classes = data.num_classes;
  config.dropout = flags.get<double>("dropout");
  config.use_checkpoint = flags.get<bool>("use_checkpoint");
  config.torso = torso_of(flags, flags.get<bool>("classifier_use_fp16"));
  check(config);
  return config;
}

Classifier make_network(const ClassifierConfig& config, const Start& start, Device device) {
  if (start.weights.empty()) {
    const auto source =
        create_parameters(start.flags.get<std::uint64_t>("seed"), DType::f32, device);
    return Classifier(config, *source);
  }
  const auto source = load_parameters(Checkpoint::open(start.weights), DType::f32, device);
  return Classifier(config, *source);
}

}  // namespace

int train_classifier_command(const Flags& typed) {
  const Device device = device_of(typed);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage,
         "--device meta has shapes without numbers: nothing can be learned there");
  const Start start = find_start(typed);
  const Flags& flags = start.flags;
  announce_device(device);
  TrainingData data = open_data(start, true, flags.get<std::int64_t>("image_size"));

  Inference inference;
  inference.kind = NetworkKind::classifier;
  inference.classifier = network_of(flags, data);
  inference.diffusion = process_as_hints(flags);
  const GaussianDiffusion diffusion(process_from_flags(flags, flags.get<bool>("learn_sigma")));
  const auto iterations = flags.get<std::int64_t>("iterations");
  TrainerOptions options =
      trainer_options(flags, AnnealOrder::before_step, inference.classifier.torso, 16);
  if (flags.get<bool>("anneal_lr")) options.rate.anneal_steps = iterations;
  const double estimate =
      announce_plan(inference, options, flags.get<std::int64_t>("batch_size"),
                    std::max<std::int64_t>(0, iterations - start.first_step), device);
  if (flags.get<bool>("dry_run")) return 0;

  const Classifier classifier = make_network(inference.classifier, start, device);
  Trainer trainer(classifier.parameters(), options);
  const auto sampler =
      named_schedule_sampler(flags.get<std::string>("schedule_sampler"), diffusion.steps());
  TrainingRun run;
  run.trainer = &trainer;
  run.sampler = sampler.get();
  std::unique_ptr<RunLog> files;
  settle_run(start, data, run, files);
  run.draw.device = device;
  run.total = iterations;
  run.estimated_seconds = estimate;
  run.eval_interval = flags.get<std::int64_t>("eval_interval");
  run.flat_optimizer = inference.classifier.torso == DType::f16;
  run.metadata.merge(network_metadata(inference, data.class_names));
  run.loss_key = "train_loss";
  const bool noised = flags.get<bool>("noised");
  run.loss = [&](const StepInputs& in, std::int64_t begin, std::int64_t end, LogMeans& log) {
    return classifier_objective(classifier, diffusion, in, begin, end, noised, "train", log);
  };
  run.validate = [&](const StepInputs& in, LogMeans& log) {
    const std::int64_t size = options.microbatch > 0 ? options.microbatch : in.size();
    for (std::int64_t begin = 0; begin < in.size(); begin += size)
      classifier_objective(classifier, diffusion, in, begin, std::min(begin + size, in.size()),
                           noised, "val", log);
  };
  restore(start, run);
  run_training(run);
  return 0;
}

}  // namespace tiller
