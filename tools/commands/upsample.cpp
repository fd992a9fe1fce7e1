// tiller upsample: pictures enlarged by a super-resolution network (super_res_sample.py).
#include <algorithm>

#include "tools/commands/commands.h"
#include "tools/sampling/base_samples.h"
#include "tools/sampling/process.h"
#include "tools/sampling/setup.h"

namespace tiller {

namespace {

Network open_upsampler(const Flags& flags, Device device) {
  if (!flags.given("model_path"))
    fail(ErrorKind::usage,
         "upsample needs --model_path FILE: the super-resolution network's checkpoint");
  Network network = open_model(flags.get<std::string>("model_path"), flags, device);
  if (network.inference.kind != NetworkKind::super_resolution)
    fail(ErrorKind::usage,
         fmt::format("{} is no super-resolution network: it makes pictures from noise alone; use "
                     "tiller sample",
                     network.path));
  return network;
}

Pictures open_base(const Flags& flags, const Network& network) {
  if (!flags.given("base_samples"))
    fail(ErrorKind::usage,
         "upsample needs --base_samples PATH: an npz of tiller sample, a picture, or a folder of "
         "pictures");
  const auto path = flags.get<std::string>("base_samples");
  // A size that is asked for is made; else files keep theirs.
  Pictures base =
      read_pictures(path, NameLabels::sample,
                    flags.given("small_size") ? flags.get<std::int64_t>("small_size") : 0);
  if (base.cropped > 0)
    announce("", fmt::format("{} of the pictures are scaled and cropped to --small_size {}",
                             base.cropped, flags.text("small_size")));
  const UNetConfig& config = network.unet->config();
  if (base.pixels.dim(3) != config.in_channels)
    fail(ErrorKind::usage, fmt::format("{}: pictures of {} channels; the network takes {}", path,
                                       base.pixels.dim(3), config.in_channels));
  const std::int64_t h = base.pixels.dim(1), w = base.pixels.dim(2);
  if (flags.given("small_size")) {
    const auto size = flags.get<std::int64_t>("small_size");
    if (h != size || w != size)
      fail(ErrorKind::usage,
           fmt::format("{}: pictures of {}x{}; --small_size says {}", path, w, h, size));
  } else if (!size_is_guessed(network) &&
             (4 * h != config.image_size || 4 * w != config.image_size)) {
    warn(
        fmt::format("pictures of {}x{} pixels become {}x{}: most such networks are trained to "
                    "enlarge four times",
                    w, h, config.image_size, config.image_size));
  }
  return base;
}

}  // namespace

int upsample_command(const Flags& flags) {
  const Device device = device_of(flags);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage, "--device meta has shapes without numbers; tiller inspect plans on it");
  parse_save(flags.get<std::string>("save"));
  announce_device(device);
  const Network unet = open_upsampler(flags, device);
  announce_network("model", unet);
  const Pictures base = open_base(flags, unet);
  announce("input",
           fmt::format("{} pictures of {}x{} from {}{}", base.pixels.dim(0), base.pixels.dim(2),
                       base.pixels.dim(1), flags.get<std::string>("base_samples"),
                       base.labels.empty() ? "" : ", with labels"));

  const Process process = process_of(flags, unet.inference);
  const GaussianDiffusion diffusion(process.config);
  SamplingRun run;
  run.unet = &unet;
  run.diffusion = &diffusion;
  run.sampler = sampler_options(flags);
  announce("sampler", in_words(diffusion, run.sampler.ddim, run.sampler.eta));
  for (const std::string& note : process.notes) announce("", note);
  const DrawsChoice choice = choose_draws(flags, *unet.unet, diffusion.steps());
  run.draws = choice.draws.get();
  run.picture = choice.picture;
  const std::int64_t h = 4 * base.pixels.dim(1), w = 4 * base.pixels.dim(2);
  if (!flags.given("noise") && size_is_guessed(unet) && h % unet.unet->stride() == 0 &&
      w % unet.unet->stride() == 0) {
    run.picture = {h, w, base.pixels.dim(3)};
    announce("size", fmt::format("{}x{}, four times the input's; --large_size decides", w, h));
  }
  announce("numbers", numbers_in_words(flags));

  const std::int64_t num_classes = unet.num_classes();
  const bool given = flags.given("classes");
  ClassChoice classes;
  if (num_classes == 0 && given)
    fail(ErrorKind::usage, "--classes: the super-resolution network takes no class");
  if (num_classes > 0 && !given && base.labels.empty())
    fail(ErrorKind::usage,
         fmt::format("the network is class-conditional, and {} tells no classes; give --classes, "
                     "one for each picture or one for all, or an npz with labels in arr_1",
                     flags.get<std::string>("base_samples")));
  if (num_classes > 0 && given) {
    classes = ClassChoice::parse(flags.get<std::string>("classes"), num_classes, unet.class_names);
    run.labels = [&](std::int64_t first, std::int64_t n) {
      return run.draws->labels(classes, first, n);
    };
  } else if (!base.labels.empty()) {  // kept, also where the network does not look at them
    for (const std::int64_t label : base.labels)
      TILLER_CHECK(label >= 0 && (num_classes == 0 || label < num_classes),
                   "{}: there is no class {}; the network's classes are 0 to {}",
                   flags.get<std::string>("base_samples"), label, num_classes - 1);
    run.labels = [&](std::int64_t first, std::int64_t n) {
      std::vector<std::int64_t> labels;
      for (std::int64_t i = 0; i < n; ++i)
        labels.push_back(base.labels[static_cast<std::size_t>((first + i) % base.pixels.dim(0))]);
      return labels;
    };
  }
  run.low_res = [&](std::int64_t first, std::int64_t n) { return network_input(base, first, n); };

  const std::int64_t available =
      choice.count < 0 ? base.pixels.dim(0) : std::min(choice.count, base.pixels.dim(0));
  settle_counts(flags, available, run);
  run.preview_every = flags.get<std::int64_t>("preview_every");
  run.folder = flags.get<std::string>("out");
  announce("out", fmt::format("{} pictures of {}x{} in {}", run.count, run.picture[1],
                              run.picture[0], run.folder));
  SampleWriter writer(make_record(flags, run, {}, unet.class_names));
  for (const std::string& path : run_sampling(run, writer)) fmt::print("{}\n", path);
  return 0;
}

}  // namespace tiller
