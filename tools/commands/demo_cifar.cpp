// The demo with trained networks that lie beside the program: every class of CIFAR-10 from the same noise,
// unguided, at two strengths of guidance, and by a network that is told the class, alone and guided.
#include <algorithm>
#include <filesystem>
#include <optional>

#include "runtime/files/image.h"
#include "tools/commands/demo.h"
#include "tools/demo_cifar/grid.h"
#include "tools/demo_cifar/models.h"
#include "tools/flags/choices.h"
#include "tools/quality/judge.h"
#include "tools/sampling/announce.h"
#include "tools/sampling/draw.h"
#include "tools/sampling/interrupt.h"
#include "tools/sampling/process.h"
#include "tools/sampling/progress.h"

namespace tiller::demo {

namespace {

/// The networks of the demo. The last two may be missing.
struct Models {
  Network unet, guide;
  std::optional<Network> conditional, judge;
};

Models open_models(const std::string& folder, const Flags& flags, Device device) {
  const auto there = [&](const char* file) { return std::filesystem::exists(folder + "/" + file); };
  Models all{.unet = open_model(model_file(folder, kUnetFile), flags, device),
             .guide = open_classifier(model_file(folder, kGuideFile), flags, device),
             .conditional = {},
             .judge = {}};
  if (there(kConditionalUnetFile))
    all.conditional = open_model(folder + "/" + kConditionalUnetFile, flags, device);
  if (there(kJudgeFile)) all.judge = open_classifier(folder + "/" + kJudgeFile, flags, device);
  announce_network("model", all.unet);
  announce_network("classifier", all.guide);
  return all;
}

std::vector<std::string> names_of(const Models& models) {
  if (!models.guide.class_names.empty()) return models.guide.class_names;
  std::vector<std::string> numbers;
  for (std::int64_t i = 0; i < models.guide.num_classes(); ++i)
    numbers.push_back(std::to_string(i));
  return numbers;
}

/// Draws block by block, with one line of progress over all of them.
class Painter {
 public:
  Painter(std::vector<std::int64_t> labels, std::int64_t steps, std::int64_t blocks)
      : labels_(std::move(labels)),
        steps_(steps),
        progress_(static_cast<std::int64_t>(labels_.size()) * steps * blocks, "picture steps") {}

  Tensor draw(Drawer drawer, const std::string& what) {
    const auto n = static_cast<std::int64_t>(labels_.size());
    drawer.on_step = [&](std::int64_t left) {
      if (ctrl_c_.requested()) {
        progress_.clear();
        fail(ErrorKind::interrupted, "interrupted");
      }
      progress_.update((done_ + steps_ - left) * n, fmt::format("{}: {} pictures", what, n));
    };
    Tensor pictures = draw_samples(drawer, labels_, 0);
    done_ += steps_;
    progress_.clear();
    return pictures;
  }

 private:
  std::vector<std::int64_t> labels_;
  std::int64_t steps_, done_ = 0;
  InterruptGuard ctrl_c_;
  Progress progress_;
};

}  // namespace

int show_cifar(const Flags& flags, const std::string& folder) {
  const Device device = device_of(flags);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage, "--device meta has shapes without numbers: there is nothing to show");
  const auto out = flags.get<std::string>("out"),
             respacing = flags.get<std::string>("timestep_respacing");
  const auto samples = flags.get<std::int64_t>("num_samples");
  const std::vector<double> scales = sorted_scales(flags);
  const Models models = open_models(folder, flags, device);
  const std::vector<std::string> names = names_of(models);
  const auto classes = static_cast<std::int64_t>(names.size());
  if (samples % classes != 0)
    fail(ErrorKind::usage,
         fmt::format("--num_samples {} is not a multiple of the {} classes", samples, classes));
  // As `tiller sample` would read the checkpoints. DDIM's spacing asks for DDIM.
  const bool ddim = respacing.starts_with("ddim");
  const std::string use_ddim = ddim ? "True" : "False";
  const Flags sampling = Flags::parse(
      command_spec("sample"), {"--timestep_respacing=" + respacing, "--use_ddim=" + use_ddim});
  const GaussianDiffusion diffusion(process_of(sampling, models.unet.inference).config);
  announce("sampler", in_words(diffusion, ddim, 0));
  prepare_folder(out);

  const std::vector<std::int64_t> labels = quality::labels_in_turn(samples, classes);
  // A network that is told the class needs little more guidance (the paper's table 4).
  std::vector<double> told_scales;
  if (models.conditional) {
    told_scales = {0};
    const auto least = std::upper_bound(scales.begin(), scales.end(), 0);
    if (least != scales.end()) told_scales.push_back(*least);
  }
  Painter painter(labels, diffusion.steps(),
                  static_cast<std::int64_t>(scales.size() + told_scales.size()));
  std::vector<GridBlock> blocks;
  if (models.judge)
    fmt::print("share of {} samples in which a second classifier sees the class asked for:\n",
               samples);
  const auto add = [&](const Drawer& drawer, const std::string& what) {
    GridBlock block{what, painter.draw(drawer, what)};
    if (models.judge) {
      const double right = quality::share_right(
          quality::judge(*models.judge->classifier, block.pictures).seen, labels);
      block.label += fmt::format("\n{:.0f} % right", 100 * right);
      fmt::print("  {:<16} {:>5.1f} %\n", what, 100 * right);
      std::fflush(stdout);
    }
    blocks.push_back(std::move(block));
  };
  Drawer drawer;
  drawer.unet = models.unet.unet.get();
  drawer.guide = models.guide.classifier.get();
  drawer.diffusion = &diffusion;
  drawer.sampler.ddim = ddim;
  drawer.side = models.unet.image_size();
  drawer.seed = flags.get<std::uint64_t>("seed");
  for (const double scale : scales) {
    drawer.scale = scale;
    add(drawer, scale == 0 ? "unguided" : fmt::format("scale {:g}", scale));
  }
  if (models.conditional) {
    const GaussianDiffusion own(process_of(sampling, models.conditional->inference).config);
    drawer.unet = models.conditional->unet.get();
    drawer.diffusion = &own;
    for (const double scale : told_scales) {
      drawer.scale = scale;
      add(drawer, scale == 0 ? "told the class" : fmt::format("told, scale {:g}", scale));
    }
  }

  const std::string grid = out + "/grid.png";
  write_png(grid, draw_class_grid(blocks, names),
            {{"tiller.command", command_line(flags, {{"seed", flags.text("seed")}})}});
  fmt::print(
      "the pictures: {}\nto draw more:\n  tiller sample --model_path {} --classifier_path {} "
      "--classifier_scale {:g} --classes all --use_ddim {} --timestep_respacing {} --out "
      "{}/samples\n",
      grid, models.unet.path, models.guide.path, scales.back(), use_ddim, respacing, out);
  return 0;
}

}  // namespace tiller::demo
