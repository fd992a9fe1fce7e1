// tiller quality: how good samples are, and how varied, over the scale of the guidance.
#include <filesystem>

#include "runtime/backend.h"
#include "runtime/parallel.h"
#include "tools/commands/commands.h"
#include "tools/data/labels.h"
#include "tools/demo_cifar/models.h"
#include "tools/flags/choices.h"
#include "tools/quality/measure.h"
#include "tools/quality/sampled.h"
#include "tools/sampling/interrupt.h"
#include "tools/sampling/process.h"
#include "tools/sampling/progress.h"
#include "tools/sampling/setup.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;

// A given file, or the one of this name beside the program.
std::string network_path(const Flags& flags, const std::string& flag, const char* file) {
  if (flags.given(flag)) return flags.get<std::string>(flag);
  const std::string models = demo::find_models();
  if (models.empty())
    fail(ErrorKind::usage,
         fmt::format("quality needs --{} FILE: no trained networks lie beside the program "
                     "(tools/demo_models)",
                     flag));
  return demo::model_file(models, file);
}

/// The three networks: what draws, what steers, and what looks at the results.
struct Networks {
  Network unet, guide, judge;
};

void check_fit(const Networks& all) {
  const Classifier& guide = *all.guide.classifier;
  const Classifier& judge = *all.judge.classifier;
  const UNetConfig& unet = all.unet.unet->config();
  for (const Network* network : {&all.guide, &all.judge})
    if (network->image_size() != unet.image_size ||
        network->classifier->config().in_channels != unet.in_channels)
      fail(ErrorKind::usage,
           fmt::format("{} looks at pictures of {}x{}x{}, the diffusion network makes {}x{}x{}",
                       network->path, network->image_size(), network->image_size(),
                       network->classifier->config().in_channels, unet.image_size, unet.image_size,
                       unet.in_channels));
  const bool names_differ = !all.guide.class_names.empty() && !all.judge.class_names.empty() &&
                            all.guide.class_names != all.judge.class_names;
  if (guide.config().num_classes != judge.config().num_classes || names_differ)
    fail(ErrorKind::usage,
         fmt::format("{} and {} do not tell the same classes", all.guide.path, all.judge.path));
  if (unet.num_classes > 0 && unet.num_classes < guide.config().num_classes)
    fail(ErrorKind::usage, fmt::format("{} has {} classes, the classifiers {}", all.unet.path,
                                       unet.num_classes, guide.config().num_classes));
}

Networks open_networks(const Flags& flags, Device device) {
  Networks all;
  all.unet = open_model(network_path(flags, "model_path", demo::kUnetFile), flags, device);
  if (all.unet.inference.kind == NetworkKind::super_resolution)
    fail(ErrorKind::usage,
         fmt::format("{} enlarges pictures; quality measures what draws them", all.unet.path));
  announce_network("model", all.unet);
  all.guide =
      open_classifier(network_path(flags, "classifier_path", demo::kGuideFile), flags, device);
  announce_network("guide", all.guide);
  all.judge = open_classifier(network_path(flags, "judge_path", demo::kJudgeFile), flags, device);
  announce_network("judge", all.judge);
  check_fit(all);
  return all;
}

/// The real pictures, and what the judge makes of them.
struct RealPictures {
  std::string description;
  quality::Judgement judged;
  std::vector<std::int64_t> labels;  // empty where nothing tells them
};

RealPictures read_real(const Flags& flags, const Network& judge, const InterruptGuard& ctrl_c) {
  if (!flags.given("data_dir"))
    fail(ErrorKind::usage, "quality needs --data_dir PATH: real pictures to compare samples with");
  DatasetOptions options{.labels = label_source(flags.get<std::string>("labels")),
                         .class_names = judge.class_names,
                         .channels = judge.classifier->config().in_channels};
  const auto data = open_dataset(flags.get<std::string>("data_dir"), options);
  RealPictures real;
  real.description = data->description();
  announce("data", real.description);
  const auto watch = [&](Progress& progress, const char* what) {
    return [&ctrl_c, &progress, what](std::int64_t done) {
      if (ctrl_c.requested()) fail(ErrorKind::interrupted, "interrupted");
      progress.update(done, what);
    };
  };
  Progress reading(data->size(), "pictures"), looking(data->size(), "pictures");
  const Tensor pixels =
      quality::all_pictures(*data, judge.image_size(), watch(reading, "real pictures, read"));
  real.judged =
      quality::judge(*judge.classifier, pixels, watch(looking, "real pictures, looked at"));
  if (!data->class_names().empty())
    for (std::int64_t i = 0; i < data->size(); ++i) real.labels.push_back(data->label(i));
  return real;
}

// What decides over a sample besides the guidance.
quality::Settings settings_of(const Flags& flags, const Network& unet, const Process& process,
                              const std::string& sampler) {
  const DiffusionConfig& config = process.config;
  return {{"network", quality::fingerprint(unet.path)},
          {"sampler", sampler},
          {"clip_denoised", flags.text("clip_denoised")},
          {"timestep_respacing", config.timestep_respacing},
          {"mean", std::to_string(static_cast<int>(config.mean))},
          {"variance", std::to_string(static_cast<int>(config.variance))},
          {"seed", flags.text("seed")}};
}

std::string stem(const Network& network) { return fs::path(network.path).stem(); }

std::string report_prefix(const Flags& flags) {
  const auto given = flags.get<std::string>("report");
  return given.empty() ? flags.get<std::string>("out") + "/quality" : given;
}

void make_folder(const std::string& folder) {
  std::error_code error;
  if (!folder.empty()) fs::create_directories(folder, error);
  TILLER_CHECK(!error, "cannot make the folder {}: {}", folder, error.message());
}

}  // namespace

int quality_command(const Flags& flags) {
  const Device device = device_of(flags);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage, "--device meta has shapes without numbers: nothing can be measured");
  announce_device(device);
  const Networks networks = open_networks(flags, device);
  const Process process = process_of(flags, networks.unet.inference);
  const GaussianDiffusion diffusion(process.config);
  Drawer drawer;
  drawer.unet = networks.unet.unet.get();
  drawer.guide = networks.guide.classifier.get();
  drawer.diffusion = &diffusion;
  drawer.sampler = sampler_options(flags);
  drawer.side = networks.unet.image_size();
  drawer.seed = flags.get<std::uint64_t>("seed");
  const std::string sampler = in_words(diffusion, drawer.sampler.ddim, drawer.sampler.eta);
  announce("sampler", sampler);
  for (const std::string& note : process.notes) announce("", note);
  const std::string mismatch = schedule_mismatch(diffusion, networks.guide.inference.diffusion);
  if (!mismatch.empty()) warn(mismatch);
  const std::string blind = blind_start(diffusion, drawer.sampler.ddim);
  if (!blind.empty()) warn(blind);

  const std::vector<double> scales = sorted_scales(flags);
  const auto out = flags.get<std::string>("out"), prefix = report_prefix(flags);
  make_folder(out);
  make_folder(fs::path(prefix).parent_path());
  quality::SampledScales samples(scales,
                                 {.folder = out,
                                  .settings = settings_of(flags, networks.unet, process, sampler),
                                  .guide = quality::fingerprint(networks.guide.path),
                                  .count = flags.get<std::int64_t>("num_samples"),
                                  .batch = flags.get<std::int64_t>("batch_size"),
                                  .classes = networks.guide.num_classes()});

  const InterruptGuard ctrl_c;
  const auto neighbours = flags.get<std::int64_t>("neighbours");
  const RealPictures real = read_real(flags, networks.judge, ctrl_c);
  const quality::Reference reference = quality::make_reference(real.judged.features, real.labels);
  quality::Report report;
  report.features = "the features of " + stem(networks.judge);
  report.notes = {
      "# Samples over the guidance scale",
      "",
      "`" + command_line(flags, {}) + "`",
      "",
      fmt::format("{} guided by {}, measured by {}; {}; seed {}; {}, {} threads used.",
                  stem(networks.unet), stem(networks.guide), stem(networks.judge), sampler,
                  flags.text("seed"), backend(device).describe(), threads()),
      fmt::format("Real pictures: {}; the {} nearest neighbours.", real.description, neighbours)};
  report.real = quality::measure_real(real.judged, real.labels,
                                      flags.get<std::int64_t>("num_samples"), neighbours);

  announce("samples", fmt::format("{} are to be drawn", samples.missing()));
  Progress progress(samples.missing() * diffusion.steps(), "picture steps");
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const quality::SampleFile drawn = samples.take(i, drawer, [&](std::int64_t done) {
      if (ctrl_c.requested()) {
        progress.clear();
        fail(ErrorKind::interrupted, "interrupted");
      }
      progress.update(done, fmt::format("scale {:g} ({} of {})", scales[i], i + 1, scales.size()));
    });
    progress.clear();
    quality::Measurement row =
        quality::measure(reference, quality::judge(*networks.judge.classifier, drawn.pixels),
                         drawn.labels, neighbours);
    row.scale = scales[i];
    report.rows.push_back(row);
    announce("measured",
             fmt::format("scale {:g}: Fréchet distance {:.3g}, accuracy {:.1f} %, "
                         "precision {:.3f}, recall {:.3f}",
                         row.scale, row.frechet, 100 * row.accuracy, row.precision, row.recall));
    // After each scale, so that an interrupted run leaves what it has found.
    for (const std::string& path : quality::write_report(report, prefix))
      if (i + 1 == scales.size()) announce("out", path);
  }
  fmt::print("{}", quality::as_markdown(report));
  return 0;
}

}  // namespace tiller
