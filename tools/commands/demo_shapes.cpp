// The demo that needs no files: trains a UNet that knows no classes and a noised classifier on shapes
// it draws, and shows the one steering the other.
#include <algorithm>
#include <string>
#include <vector>

#include "runtime/files/image.h"
#include "tools/commands/demo.h"
#include "tools/demo_shapes/networks.h"
#include "tools/demo_shapes/poster.h"
#include "tools/demo_shapes/shapes.h"
#include "tools/demo_shapes/steer.h"
#include "tools/demo_shapes/train.h"
#include "tools/network.h"
#include "tools/sampling/interrupt.h"
#include "tools/sampling/progress.h"

namespace tiller::demo {

namespace {

constexpr std::int64_t kSamples = 48;      // where --num_samples is not given
constexpr const char* kRespacing = "50";   // likewise
constexpr double kScales[] = {0, 1, 4};    // of the columns of the grid
constexpr std::int64_t kDrawings = 240;    // on which the classifiers are examined
constexpr double kClassifierShare = 0.15;  // of --minutes; the UNet has what two leave

// What a seed is used for: every network, and every series of pictures, has its own.
enum class Role : std::uint64_t { unet, guide, judge, exam, samples, count };
std::uint64_t seed_of(const Flags& flags, Role role) {
  return flags.get<std::uint64_t>("seed") * static_cast<std::uint64_t>(Role::count) +
         static_cast<std::uint64_t>(role);
}

void stop_if_requested(const InterruptGuard& ctrl_c) {
  if (ctrl_c.requested()) fail(ErrorKind::interrupted, "interrupted");
}

template <class Network>
void learn(const Network& network, const std::string& name, std::int64_t steps, double minutes,
           TrainingOptions options, const InterruptGuard& ctrl_c) {
  Progress progress(steps, "step");
  double average = 0;
  options.steps = steps;
  options.max_seconds = 60 * minutes;
  options.on_step = [&](const TrainingStep& now) {
    average += (now.loss - average) / static_cast<double>(std::min<std::int64_t>(now.step, 30));
    stop_if_requested(ctrl_c);
    progress.update(now.step,
                    fmt::format("{}: step {} of {}, loss {:.3f}", name, now.step, steps, average));
  };
  const GaussianDiffusion diffusion(process());
  const TrainingStep end = train(network, diffusion, options);
  if (end.step < steps)
    fmt::print(stderr, "{}: stopped by --minutes after {} of {} steps\n", name, end.step, steps);
}

TrainingOptions unet_options(const Flags& flags) {
  TrainingOptions options;
  options.seed = seed_of(flags, Role::unet);
  options.batch = 32;
  options.lr = 2e-3;
  return options;
}

Classifier train_classifier(const Flags& flags, const std::string& name, Role role,
                            const InterruptGuard& ctrl_c) {
  TrainingOptions options;
  options.seed = seed_of(flags, role);
  options.batch = 48;
  options.weight_decay = 0.05;
  const auto source = create_parameters(options.seed);
  Classifier classifier(classifier_config(), *source);
  // A classifier learns faster than a UNet.
  const std::int64_t steps = std::max<std::int64_t>(1, flags.get<std::int64_t>("train_steps") / 4);
  learn(classifier, name, steps, kClassifierShare * flags.get<double>("minutes"), options, ctrl_c);
  return classifier;
}

// Asks for every class equally often: 0 0 0 1 1 1 ...
Tensor all_classes(std::int64_t each) {
  std::vector<std::int64_t> labels;
  for (std::int64_t label = 0; label < kClasses; ++label)
    labels.insert(labels.end(), static_cast<std::size_t>(each), label);
  return Tensor::from(labels, {kClasses * each});
}

}  // namespace

int show_shapes(const Flags& flags) {
  if (device_of(flags) != kCpu)
    fail(ErrorKind::usage, "the shapes are learned on the CPU: leave --device out");
  const std::int64_t samples =
      flags.given("num_samples") ? flags.get<std::int64_t>("num_samples") : kSamples;
  if (samples % kClasses != 0)
    fail(ErrorKind::usage,
         fmt::format("--num_samples {} is not a multiple of the {} classes", samples, kClasses));
  const auto out = flags.get<std::string>("out");
  const auto respacing =
      flags.given("timestep_respacing") ? flags.get<std::string>("timestep_respacing") : kRespacing;
  const GaussianDiffusion diffusion(process(respacing));  // refuses a bad one at once
  const InterruptGuard ctrl_c;
  prepare_folder(out);

  const auto source = create_parameters(seed_of(flags, Role::unet));
  const UNet unet(unet_config(), *source);
  fmt::print("{} classes of {}-pixel pictures, seed {}; a UNet of {:.1f} million parameters\n",
             kClasses, kSide, flags.text("seed"),
             static_cast<double>(unet.parameters().numel()) * 1e-6);
  std::fflush(stdout);
  learn(unet, "UNet", flags.get<std::int64_t>("train_steps"),
        (1 - 2 * kClassifierShare) * flags.get<double>("minutes"), unet_options(flags), ctrl_c);
  save(out + "/unet.safetensors", unet);
  const Classifier guide = train_classifier(flags, "classifier", Role::guide, ctrl_c);
  save(out + "/classifier.safetensors", guide);
  const Classifier judge = train_classifier(flags, "second classifier", Role::judge, ctrl_c);

  const Shapes exam = draw_shapes(seed_of(flags, Role::exam), 0, kDrawings);
  fmt::print("of {} drawings, the classifier names {:.1f} % rightly, the second one {:.1f} %\n",
             kDrawings, 100 * accuracy(guide, exam.x, exam.labels),
             100 * accuracy(judge, exam.x, exam.labels));

  const Tensor labels = all_classes(samples / kClasses);
  std::vector<PosterColumn> columns;
  fmt::print("share of {} samples in which the second classifier sees the class asked for:\n",
             samples);
  for (const double scale : kScales) {
    Progress progress(samples * diffusion.steps(), "step");
    const auto on_step = [&](std::int64_t done) {
      stop_if_requested(ctrl_c);
      progress.update(done, fmt::format("scale {:g}: {} pictures", scale, samples));
    };
    const Tensor pictures =
        steer(unet, guide, diffusion, scale, labels, seed_of(flags, Role::samples), on_step);
    columns.push_back({scale, pictures, accuracy(judge, pictures, labels)});
    fmt::print("  scale {:<3g} {:>5.1f} %\n", scale, 100 * columns.back().accuracy);
    std::fflush(stdout);
  }
  const std::string grid = out + "/grid.png";
  write_png(grid, draw_poster(columns),
            {{"tiller.command",
              fmt::format("tiller demo --train --seed {} --train_steps {} --num_samples {} "
                          "--timestep_respacing {}",
                          flags.text("seed"), flags.text("train_steps"), samples, respacing)}});
  fmt::print(
      "the pictures: {}\nto draw more:\n  tiller sample --model_path {}/unet.safetensors "
      "--classifier_path {}/classifier.safetensors --classifier_scale 4 --classes all "
      "--timestep_respacing {} --num_samples {} --batch_size {} --out {}/samples\n",
      grid, out, out, respacing, 4 * kClasses, 4 * kClasses, out);
  return 0;
}

}  // namespace tiller::demo
