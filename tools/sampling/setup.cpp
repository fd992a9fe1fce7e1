#include "tools/sampling/setup.h"

#include <algorithm>
#include <filesystem>

#include "tools/sampling/base_samples.h"

namespace tiller {

SampleOptions sampler_options(const Flags& flags) {
  SampleOptions options;
  options.ddim = flags.get<bool>("use_ddim");
  options.eta = flags.get<double>("eta");
  options.clip = flags.get<bool>("clip_denoised");
  options.graph = !flags.get<bool>("no_graph");
  if (flags.given("eta") && !options.ddim) warn("--eta has no effect without --use_ddim True");
  if (!options.ddim && flags.get<std::string>("timestep_respacing").starts_with("ddim"))
    warn(
        "--timestep_respacing ddimN only picks the steps; the sampler is DDPM without --use_ddim "
        "True");
  return options;
}

bool size_is_guessed(const Network& network) {
  const std::vector<std::string>& lines = network.inference.assumed;
  return std::any_of(lines.begin(), lines.end(), [](const std::string& line) {
    return line.find("--image_size") != std::string::npos ||
           line.find("--large_size") != std::string::npos;
  });
}

DrawsChoice choose_draws(const Flags& flags, const UNet& unet, std::int64_t steps) {
  DrawsChoice choice;
  const UNetConfig& config = unet.config();
  choice.picture = {config.image_size, config.image_size, config.in_channels};
  const auto seed = flags.get<std::uint64_t>("seed");
  const bool torch = flags.get<std::string>("rng") == "torch-cpu";
  const auto path = flags.get<std::string>("noise");
  if (path.empty()) {
    choice.draws = torch ? torch_cpu_draws(seed) : philox_draws(seed);
    return choice;
  }
  if (torch)
    fail(ErrorKind::usage, "--noise and --rng torch-cpu contradict each other: give one of them");
  auto file = std::make_unique<NoiseFile>(path, seed);
  if (file->channels() != config.in_channels || file->height() % unet.stride() != 0 ||
      file->width() % unet.stride() != 0)
    fail(ErrorKind::usage,
         fmt::format("--noise {}: pictures of {} channels, {}x{}, do not fit the network: {} "
                     "channels, sides that are multiples of {}",
                     path, file->channels(), file->height(), file->width(), config.in_channels,
                     unet.stride()));
  if (file->draws() < steps + 1)
    fail(ErrorKind::usage,
         fmt::format("--noise {} has {} draws; {} steps need {}: the start, then one per step",
                     path, file->draws(), steps, steps + 1));
  choice.picture = {file->height(), file->width(), file->channels()};
  choice.count = file->samples();
  choice.draws = std::move(file);
  return choice;
}

std::string numbers_in_words(const Flags& flags) {
  return fmt::format(
      "seed {} ({})", flags.text("seed"),
      flags.given("noise") ? "noise from " + flags.text("noise") : flags.text("rng"));
}

namespace {

std::int64_t checked_count(const Flags& flags, std::int64_t available) {
  const auto first = flags.get<std::int64_t>("first_index");
  const auto count = flags.get<std::int64_t>("num_samples");
  if (available >= 0 && first >= available)
    fail(ErrorKind::usage,
         fmt::format("--first_index {}: there are {} pictures, counted from 0", first, available));
  const bool all = count == -1 || (available >= 0 && !flags.given("num_samples"));
  if (all && available < 0)
    fail(ErrorKind::usage, "--num_samples -1: there is no input whose pictures could be counted");
  if (all) return available - first;
  if (available < 0 || first + count <= available) return count;
  warn(fmt::format("--num_samples {}: the input has {} pictures from index {} on, so {} are made",
                   count, available - first, first, available - first));
  return available - first;
}

}  // namespace

void settle_counts(const Flags& flags, std::int64_t available, SamplingRun& run) {
  run.first_index = flags.get<std::int64_t>("first_index");
  run.count = checked_count(flags, available);
  run.batch_size = flags.get<std::int64_t>("batch_size");
  const Inference* guide = run.classifier ? &run.classifier->inference : nullptr;
  const std::int64_t steps = run.diffusion->steps();
  std::optional<FrozenWeights> weights;
  if (run.unet->parameters().all().front().value.device().type == DeviceType::cpu)
    weights = frozen_weights(flags);
  if (run.draws->full_batches()) {
    if (run.first_index % run.batch_size != 0)
      fail(ErrorKind::usage,
           fmt::format("--first_index {}: PyTorch's generator draws whole batches, so with --rng "
                       "torch-cpu it must be a multiple of --batch_size {}",
                       run.first_index, run.batch_size));
  } else {
    // A smaller batch makes the same pictures.
    run.batch_size = std::min(run.batch_size, run.count);
    if (!flags.given("batch_size"))
      run.batch_size =
          fitting_batch(run.unet->inference, guide, run.batch_size, steps, run.picture, weights);
  }
  announce_memory(
      plan_memory(run.unet->inference, guide, run.batch_size, steps, run.picture, weights),
      run.batch_size);
}

namespace {

// The diffusion flags as they were settled.
std::map<std::string, std::string> resolved_process(const DiffusionConfig& config) {
  const auto boolean = [](bool value) { return value ? "True" : "False"; };
  return {{"diffusion_steps", std::to_string(config.diffusion_steps)},
          {"noise_schedule", config.noise_schedule},
          {"rescale_timesteps", boolean(config.rescale_timesteps)},
          {"learn_sigma", boolean(config.variance == VarianceType::learned_range)},
          {"predict_xstart", boolean(config.mean == MeanKind::x_start)},
          {"sigma_small", boolean(config.variance == VarianceType::fixed_small)}};
}

// Pictures of another run would stand among this one's.
void warn_of_others(const std::string& folder, std::int64_t first_index) {
  std::error_code ignored;
  std::int64_t others = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const auto name = parse_sample_name(entry.path().stem());
    others += entry.path().extension() == ".png" && name && name->index >= first_index ? 1 : 0;
  }
  if (others > 0)
    warn(
        fmt::format("{} already holds {} pictures from index {} on; those of the same name are "
                    "replaced, the others stay",
                    folder, others, first_index));
}

}  // namespace

RunRecord make_record(const Flags& flags, const SamplingRun& run,
                      std::map<std::string, std::string> resolved,
                      const std::vector<std::string>& class_names) {
  RunRecord record;
  record.folder = flags.get<std::string>("out");
  record.save = parse_save(flags.get<std::string>("save"));
  if (record.save.png) warn_of_others(record.folder, run.first_index);
  record.picture = run.picture;
  record.first_index = run.first_index;
  record.labelled = static_cast<bool>(run.labels);
  record.class_names = class_names;
  resolved.merge(resolved_process(run.diffusion->config()));
  resolved["batch_size"] = std::to_string(run.batch_size);
  resolved["num_samples"] = std::to_string(run.count);
  record.configuration = configuration_text(flags, resolved, *run.unet, run.classifier);
  std::map<std::string, std::string> always{{"seed", flags.text("seed")}};
  if (run.classifier) always["classifier_scale"] = resolved["classifier_scale"];
  if (run.draws->full_batches()) {
    // One picture cannot be had without its batch: the command is the whole run's.
    always["batch_size"] = resolved["batch_size"];
    always["num_samples"] = resolved["num_samples"];
    const std::string command = command_line(flags, always);
    record.command = [command](std::int64_t, std::int64_t) { return command; };
    return record;
  }
  record.command = [&flags, always](std::int64_t index, std::int64_t label) {
    std::map<std::string, std::string> replaced = always;
    replaced["first_index"] = std::to_string(index);
    replaced["num_samples"] = "1";
    if (label >= 0) replaced["classes"] = std::to_string(label);
    return command_line(flags, replaced);
  };
  return record;
}

}  // namespace tiller
