// tiller train: a diffusion network, or a super-resolution network (image_train.py,
// super_res_train.py).
#include <algorithm>

#include "runtime/files/image.h"
#include "tools/commands/commands.h"
#include "tools/flags/architecture.h"
#include "tools/pictures/pixels.h"
#include "tools/pictures/sheet.h"
#include "tools/sampling/announce.h"
#include "tools/training/openai_files.h"
#include "tools/training/sample_grid.h"
#include "tools/training/setup.h"

namespace tiller {

namespace {

// The network that the flags describe, for these pictures.
UNetConfig network_of(const Flags& flags, const TrainingData& data) {
  UNetConfig config = unet_config(flags);
  config.in_channels = data.channels;
  config.out_channels = data.channels * (flags.get<bool>("learn_sigma") ? 2 : 1);
  config.num_classes = data.num_classes;
  if (flags.get<double>("class_drop") > 0) {
    if (data.num_classes == 0)
      fail(ErrorKind::usage, "--class_drop drops classes: it needs --class_cond True");
    ++config.num_classes;  // the last one stands for none
  }
  config.torso = torso_of(flags, flags.get<bool>("use_fp16"));
  check(config);
  return config;
}

UNet make_network(const UNetConfig& config, const Start& start, Device device) {
  if (start.weights.empty()) {
    const auto source =
        create_parameters(start.flags.get<std::uint64_t>("seed"), DType::f32, device);
    return UNet(config, *source);
  }
  const auto source = load_parameters(Checkpoint::open(start.weights), DType::f32, device);
  return UNet(config, *source);
}

std::optional<SnrClamp> snr_clamp(const Flags& flags) {
  const std::vector<double> bounds = flags.list<double>("snr_weighting");
  if (bounds.empty()) return {};
  if (bounds.size() != 2 || bounds[1] < bounds[0])
    fail(ErrorKind::usage, fmt::format("--snr_weighting {}: two bounds, the lower one first: 0,5",
                                       flags.text("snr_weighting")));
  if (flags.get<bool>("use_kl"))
    fail(ErrorKind::usage, "--snr_weighting weighs squared errors; --use_kl True has none");
  if (bounds[0] > 0 && !flags.get<bool>("predict_xstart"))
    warn(
        fmt::format("--snr_weighting {}: with a lower bound over 0 the noisiest steps outweigh all "
                    "others for a network that predicts the noise. Take 0 as the lower bound, or "
                    "train with --predict_xstart True",
                    flags.text("snr_weighting")));
  return SnrClamp{bounds[0], bounds[1]};
}

// Small pictures to enlarge on the sheets: the first of the data, whatever is trained on.
Tensor first_pictures(const Loader& data, std::int64_t count, std::int64_t small_size,
                      Device device) {
  LoaderOptions options = data.options();
  options.batch_size = count;
  options.random_crop = options.random_flip = options.shuffle = false;
  options.threads = 1;
  options.read_ahead = 1;
  // The dataset lives as long as the loader that it was opened for.
  Loader first(std::shared_ptr<const Dataset>(&data.dataset(), [](const Dataset*) {}), options);
  return resize_area(first.next().x, small_size, small_size).value().to(device);
}

void write_sheet(const std::string& path, const Tensor& x, std::int64_t step) {
  const std::int64_t channels = x.dim(3);
  if (channels != 1 && channels != 3) return;  // no picture for a person
  Sheet sheet;
  const Tensor pixels = to_pixels(x);
  for (std::int64_t i = 0; i < pixels.dim(0); ++i)
    sheet.pictures.push_back(
        pixels.slice(i, i + 1).reshape({pixels.dim(1), pixels.dim(2), channels}));
  sheet.title = fmt::format("step {}", step);
  write_png(path, draw_sheet(sheet), {{"tiller.step", std::to_string(step)}});
}

}  // namespace

int train_command(const Flags& typed) {
  const Device device = device_of(typed);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage,
         "--device meta has shapes without numbers: nothing can be learned there");
  const Start start = find_start(typed);
  const Flags& flags = start.flags;
  const bool enlarges = asks_super_resolution(flags);
  const auto image_size = flags.get<std::int64_t>(enlarges ? "large_size" : "image_size");
  announce_device(device);
  TrainingData data = open_data(start, flags.get<bool>("class_cond"), image_size);

  Inference inference;
  inference.unet = network_of(flags, data);
  inference.kind = enlarges ? NetworkKind::super_resolution : NetworkKind::unet;
  inference.diffusion = process_as_hints(flags);
  const GaussianDiffusion diffusion(process_from_flags(flags, flags.get<bool>("learn_sigma")));
  const std::optional<SnrClamp> weighting = snr_clamp(flags);
  TrainerOptions options =
      trainer_options(flags, AnnealOrder::after_step, inference.unet.torso, 20);
  options.rate.anneal_steps = flags.get<std::int64_t>("lr_anneal_steps");
  const auto iterations = flags.get<std::int64_t>("iterations");
  std::int64_t total = options.rate.anneal_steps;
  if (iterations > 0) total = total > 0 ? std::min(total, iterations) : iterations;
  const double estimate =
      announce_plan(inference, options, flags.get<std::int64_t>("batch_size"),
                    std::max<std::int64_t>(0, total - start.first_step), device);
  if (flags.get<bool>("dry_run")) return 0;

  const UNet unet = make_network(inference.unet, start, device);
  Trainer trainer(unet.parameters(), options);
  const auto sampler =
      named_schedule_sampler(flags.get<std::string>("schedule_sampler"), diffusion.steps());
  TrainingRun run;
  run.trainer = &trainer;
  run.sampler = sampler.get();
  std::unique_ptr<RunLog> files;
  settle_run(start, data, run, files);
  run.draw.device = device;
  run.draw.small_size = enlarges ? flags.get<std::int64_t>("small_size") : 0;
  run.draw.class_drop = flags.get<double>("class_drop");
  run.draw.no_class = data.num_classes;
  run.total = total;
  run.estimated_seconds = estimate;
  run.save_first_step = true;
  run.flat_optimizer = inference.unet.torso == DType::f16;
  std::vector<std::string> names = data.class_names;
  if (!names.empty() && run.draw.class_drop > 0) {
    while (static_cast<std::int64_t>(names.size()) < data.num_classes)
      names.push_back(std::to_string(names.size()));
    names.emplace_back("none");
  }
  run.metadata.merge(network_metadata(inference, names));
  run.loss = [&](const StepInputs& in, std::int64_t begin, std::int64_t end, LogMeans& log) {
    return diffusion_objective(unet, diffusion, in, begin, end, *sampler, log, weighting);
  };
  GridOptions grid{.count = flags.get<std::int64_t>("grid_samples"),
                   .steps = flags.get<std::int64_t>("grid_steps"),
                   .seed = run.draw.seed,
                   .classes = data.num_classes};
  if (grid.count > 0) {
    if (enlarges)
      grid.low_res = first_pictures(*data.training, grid.count, run.draw.small_size, device);
    run.at_save = [&](std::int64_t step) {
      const ParameterList& weights = trainer.averages().empty()
                                         ? unet.parameters()
                                         : trainer.averages().front().ema.parameters();
      write_sheet(fmt::format("{}/samples{:06}.png", run.folder, step),
                  draw_grid(inference.unet, weights, diffusion.config(), grid), step);
    };
  }
  restore(start, run);
  run_training(run);
  return 0;
}

}  // namespace tiller
