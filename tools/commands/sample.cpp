// tiller sample: pictures from a diffusion network, guided by a classifier or not
// (classifier_sample.py and image_sample.py).
#include <algorithm>
#include <cmath>

#include "tools/commands/commands.h"
#include "tools/sampling/process.h"
#include "tools/sampling/setup.h"

namespace tiller {

namespace {

Network open_unet(const Flags& flags, Device device) {
  if (!flags.given("model_path"))
    fail(ErrorKind::usage, "sample needs --model_path FILE: the diffusion network's checkpoint");
  Network network = open_model(flags.get<std::string>("model_path"), flags, device);
  if (network.inference.kind == NetworkKind::super_resolution)
    fail(ErrorKind::usage,
         fmt::format("{} is a super-resolution network, which enlarges pictures; use tiller "
                     "upsample --base_samples PICTURES",
                     network.path));
  return network;
}

// The guidance's strength; 0 where there is no classifier.
double choose_scale(const Flags& flags, const Network& unet, bool ddim) {
  if (!flags.given("classifier_path")) {
    if (flags.given("classifier_scale"))
      warn("--classifier_scale has no effect without --classifier_path");
    return 0;
  }
  const ScaleAdvice advice = recommended_scale(unet.inference.published, ddim);
  if (!flags.given("classifier_scale")) {
    announce("guidance", fmt::format("scale {:g} ({})", advice.scale, advice.source));
    return advice.scale;
  }
  const auto scale = flags.get<double>("classifier_scale");
  announce("guidance", scale == 0 ? "none: scale 0" : fmt::format("scale {:g}", scale));
  if (scale < 0)
    warn("a negative --classifier_scale steers away from the class");
  else if (scale > 20 * std::max(1.0, advice.scale))
    warn(
        fmt::format("--classifier_scale {:g} is very strong ({} is {:g}): expect garish pictures, "
                    "or NaN",
                    scale, advice.source, advice.scale));
  return scale;
}

// The networks must be for the same pictures and the same classes.
void check_pair(const Network& unet, const Network& classifier, const Shape& picture) {
  const UNetConfig& u = unet.unet->config();
  const ClassifierConfig& c = classifier.classifier->config();
  if (u.in_channels != c.in_channels)
    fail(ErrorKind::usage,
         fmt::format("the classifier {} takes pictures of {} channels, the diffusion network makes "
                     "{}",
                     classifier.path, c.in_channels, u.in_channels));
  if (picture[0] != c.image_size || picture[1] != c.image_size)
    warn(fmt::format("the classifier was trained on pictures of {}x{} pixels, these are {}x{}",
                     c.image_size, c.image_size, picture[0], picture[1]));
  if (u.num_classes > 0 && u.num_classes != c.num_classes)
    warn(
        fmt::format("the diffusion network has {} classes, the classifier {}; the first {} are "
                    "used",
                    u.num_classes, c.num_classes, std::min(u.num_classes, c.num_classes)));
}

std::int64_t usable_classes(const Network& unet, const Network* classifier) {
  const std::int64_t of_unet = unet.num_classes();
  if (!classifier) return of_unet;
  return of_unet > 0 ? std::min(of_unet, classifier->num_classes()) : classifier->num_classes();
}

// A UNet works at any size, so its own may only be a guess; a classifier's pool can know it.
void adopt_size(const Flags& flags, const Network& unet, const Network& classifier,
                Shape& picture) {
  const std::int64_t size = classifier.image_size();
  if (flags.given("image_size") || flags.given("noise") || !size_is_guessed(unet) ||
      size_is_guessed(classifier) || size % unet.unet->stride() != 0 || size == picture[0])
    return;
  picture = {size, size, picture[2]};
  announce("size", fmt::format("pictures of {0}x{0}, the classifier's size", size));
}

}  // namespace

int sample_command(const Flags& flags) {
  const Device device = device_of(flags);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage, "--device meta has shapes without numbers; tiller inspect plans on it");
  parse_save(flags.get<std::string>("save"));  // before anything is loaded
  announce_device(device);
  const Network unet = open_unet(flags, device);
  announce_network("model", unet);
  Network classifier;
  if (flags.given("classifier_path")) {
    classifier = open_classifier(flags.get<std::string>("classifier_path"), flags, device);
    announce_network("classifier", classifier);
  }
  const Network* const guide = classifier.classifier ? &classifier : nullptr;

  const Process process = process_of(flags, unet.inference);
  const GaussianDiffusion diffusion(process.config);
  SamplingRun run;
  run.sampler = sampler_options(flags);
  announce("sampler", in_words(diffusion, run.sampler.ddim, run.sampler.eta));
  for (const std::string& note : process.notes) announce("", note);
  run.scale = choose_scale(flags, unet, run.sampler.ddim);
  if (guide) {
    const std::string mismatch = schedule_mismatch(diffusion, guide->inference.diffusion);
    if (!mismatch.empty()) warn(mismatch);
    const std::string blind = blind_start(diffusion, run.sampler.ddim && run.scale != 0);
    if (!blind.empty()) warn(blind);
  }

  const DrawsChoice choice = choose_draws(flags, *unet.unet, diffusion.steps());
  run.draws = choice.draws.get();
  run.picture = choice.picture;
  if (guide) {
    adopt_size(flags, unet, *guide, run.picture);
    check_pair(unet, *guide, run.picture);
  }
  // Scale 0 is no guidance at all: the classifier is not run, but its classes are still drawn, as
  // the scripts do.
  run.classifier = run.scale != 0 ? guide : nullptr;
  run.unet = &unet;
  run.diffusion = &diffusion;

  const std::int64_t num_classes = usable_classes(unet, guide);
  const std::vector<std::string>& names =
      guide && !classifier.class_names.empty() ? classifier.class_names : unet.class_names;
  ClassChoice classes;
  if (num_classes > 0) {
    classes = ClassChoice::parse(flags.get<std::string>("classes"), num_classes, names);
    run.labels = [&](std::int64_t first, std::int64_t n) {
      return run.draws->labels(classes, first, n);
    };
  } else if (flags.given("classes")) {
    fail(ErrorKind::usage,
         "--classes: the diffusion network is unconditional, and there is no classifier to steer "
         "it; give --classifier_path");
  }

  announce("numbers", numbers_in_words(flags));
  settle_counts(flags, choice.count, run);
  run.preview_every = flags.get<std::int64_t>("preview_every");
  run.folder = flags.get<std::string>("out");
  announce("out", fmt::format("{} pictures of {}x{} in {}", run.count, run.picture[1],
                              run.picture[0], run.folder));

  SampleWriter writer(
      make_record(flags, run, {{"classifier_scale", fmt::format("{:g}", run.scale)}}, names));
  for (const std::string& path : run_sampling(run, writer)) fmt::print("{}\n", path);
  return 0;
}

}  // namespace tiller
