// tiller nll: bits per dimension of pictures under a diffusion network (image_nll.py).
#include <algorithm>
#include <cmath>

#include "diffusion/losses.h"
#include "runtime/files/npz.h"
#include "tools/commands/commands.h"
#include "tools/sampling/base_samples.h"
#include "tools/sampling/denoiser.h"
#include "tools/sampling/interrupt.h"
#include "tools/sampling/process.h"
#include "tools/sampling/progress.h"
#include "tools/sampling/setup.h"

namespace tiller {

namespace {

Pictures open_data(const Flags& flags, const Network& network) {
  const UNet& unet = *network.unet;
  if (!flags.given("data_dir"))
    fail(
        ErrorKind::usage,
        "nll needs --data_dir PATH: a folder of pictures, or an npz (arr_0 u8 [N,H,W,C], labels in "
        "arr_1)");
  const auto path = flags.get<std::string>("data_dir");
  const UNetConfig& config = unet.config();
  // Where the network's size is only assumed, the pictures' own is the better guess.
  Pictures data =
      read_pictures(path, NameLabels::prefix, size_is_guessed(network) ? 0 : config.image_size);
  if (data.cropped > 0)
    announce("", fmt::format("{} of the pictures are scaled and cropped to {}x{}", data.cropped,
                             config.image_size, config.image_size));
  const std::int64_t h = data.pixels.dim(1), w = data.pixels.dim(2);
  const std::string what =
      fmt::format("{}: pictures of {}x{} with {} channels", path, w, h, data.pixels.dim(3));
  if (data.pixels.dim(3) != config.in_channels || h % unet.stride() != 0 || w % unet.stride() != 0)
    fail(ErrorKind::usage,
         fmt::format("{} do not fit the network: {} channels, sides that are multiples of {}", what,
                     config.in_channels, unet.stride()));
  if (h != config.image_size || w != config.image_size) {
    const std::string size =
        fmt::format("{}; the network is for {}x{}", what, config.image_size, config.image_size);
    if (flags.given("image_size")) fail(ErrorKind::usage, size);
    warn(size);
  }
  if (config.num_classes == 0) {
    data.labels.clear();
    return data;
  }
  if (data.labels.empty())
    fail(ErrorKind::usage,
         fmt::format("the network is class-conditional, and {} tells no classes; files are named "
                     "CLASS_anything.png, an npz has them in arr_1",
                     path));
  for (const std::int64_t label : data.labels)
    if (label < 0 || label >= config.num_classes)
      fail(ErrorKind::usage, fmt::format("{}: there is no class {}; the network's are 0 to {}",
                                         path, label, config.num_classes - 1));
  return data;
}

/// The results of all pictures, row by row.
class Table {
 public:
  explicit Table(std::int64_t steps) : steps_(steps) {}
  std::int64_t size() const { return static_cast<std::int64_t>(total_.size()); }
  void add(const BitsPerDimension& batch) {
    append(total_, batch.total);
    append(prior_, batch.prior);
    append(vb_, batch.vb);
    append(x_start_mse_, batch.x_start_mse);
    append(mse_, batch.mse);
  }
  double total() const { return mean(total_); }
  double prior() const { return mean(prior_); }
  void write(const std::string& path) const {
    NpzWriter file(path);
    file.write("total", Tensor::from(total_, {size()}));
    file.write("prior", Tensor::from(prior_, {size()}));
    file.write("vb", Tensor::from(vb_, {size(), steps_}));
    file.write("xstart_mse", Tensor::from(x_start_mse_, {size(), steps_}));
    file.write("mse", Tensor::from(mse_, {size(), steps_}));
    file.finish();
  }
  // Means over the pictures, summed (bits) or averaged (errors) over up to ten runs of steps.
  void print(const GaussianDiffusion& diffusion) const {
    fmt::print("{:>14} {:>12} {:>12} {:>12}\n", "timesteps", "bits/dim", "x_0 mse", "noise mse");
    const std::int64_t lines = std::min<std::int64_t>(steps_, 10);
    for (std::int64_t line = 0; line < lines; ++line) {
      const std::int64_t begin = steps_ * line / lines, end = steps_ * (line + 1) / lines;
      const auto n = static_cast<double>(end - begin);
      // Columns run from the last step down to step 0.
      const std::string range = fmt::format("{:g}..{:g}", diffusion.timestep(steps_ - 1 - begin),
                                            diffusion.timestep(steps_ - end));
      fmt::print("{:>14} {:>12.5g} {:>12.5g} {:>12.5g}\n", range, sum(vb_, begin, end),
                 sum(x_start_mse_, begin, end) / n, sum(mse_, begin, end) / n);
    }
    fmt::print("{:>14} {:>12.5g}\n", "prior", prior());
    fmt::print("{:>14} {:>12.5g}  bits per dimension, mean of {} pictures\n", "total", total(),
               size());
  }

 private:
  static void append(std::vector<float>& to, const Tensor& values) {
    const std::vector<float> v = values.to_vector<float>();
    to.insert(to.end(), v.begin(), v.end());
  }
  static double mean(const std::vector<float>& values) {
    double sum = 0;
    for (const float v : values) sum += v;
    return sum / static_cast<double>(values.size());
  }
  // Columns [begin, end), of the mean picture.
  double sum(const std::vector<float>& table, std::int64_t begin, std::int64_t end) const {
    double total = 0;
    for (std::int64_t i = 0; i < size(); ++i)
      for (std::int64_t column = begin; column < end; ++column)
        total += table[static_cast<std::size_t>(i * steps_ + column)];
    return total / static_cast<double>(size());
  }
  std::int64_t steps_;
  std::vector<float> total_, prior_;           // [N]
  std::vector<float> vb_, x_start_mse_, mse_;  // [N,T]
};

std::unique_ptr<Draws> choose_noise(const Flags& flags, const Tensor& pixels, std::int64_t count,
                                    std::int64_t steps) {
  const auto seed = flags.get<std::uint64_t>("seed");
  if (!flags.given("noise")) return philox_draws(seed);
  auto file = std::make_unique<NoiseFile>(flags.get<std::string>("noise"), seed);
  if (file->draws() < steps || file->samples() < count || file->channels() != pixels.dim(3) ||
      file->height() != pixels.dim(1) || file->width() != pixels.dim(2))
    fail(ErrorKind::usage,
         fmt::format(
             "--noise {} is [{},{},{},{},{}]; {} pictures and {} steps need [{},{},{},{},{}]",
             flags.text("noise"), file->draws(), file->samples(), file->channels(), file->height(),
             file->width(), count, steps, steps, count, pixels.dim(3), pixels.dim(1),
             pixels.dim(2)));
  return file;
}

void measure(const Flags& flags, const Network& network, const GaussianDiffusion& diffusion,
             const Pictures& data, std::int64_t count, Table& table) {
  const std::unique_ptr<Draws> draws = choose_noise(flags, data.pixels, count, diffusion.steps());
  const auto batch_size = flags.get<std::int64_t>("batch_size");
  const InterruptGuard interrupt;
  Denoiser denoiser(*network.unet, nullptr, 0, diffusion);
  Progress progress(count * diffusion.steps(), "picture steps");
  std::int64_t n = 0, done = 0;
  denoiser.on_network = [&] {
    if (interrupt.requested()) fail(ErrorKind::interrupted, "interrupted");
    progress.update(table.size() * diffusion.steps() + done++ * n,
                    fmt::format("{} of {} pictures, step {} of {}", table.size(), count, done,
                                diffusion.steps()));
  };
  for (std::int64_t first = 0; first < count; first += n) {
    n = std::min(batch_size, count - first);
    done = 0;
    Tensor labels;
    if (!data.labels.empty())
      labels = Tensor::from(
          std::vector<std::int64_t>(data.labels.begin() + first, data.labels.begin() + first + n),
          {n});
    denoiser.start(n, labels);
    table.add(bits_per_dimension(diffusion, denoiser.model(), network_input(data, first, n),
                                 flags.get<bool>("clip_denoised"), draws->noise(first)));
  }
  progress.update(count * diffusion.steps(), fmt::format("{} pictures", count));
}

}  // namespace

int nll_command(const Flags& flags) {
  const Device device = device_of(flags);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage, "--device meta has shapes without numbers; tiller inspect plans on it");
  if (!flags.given("model_path"))
    fail(ErrorKind::usage, "nll needs --model_path FILE: the diffusion network's checkpoint");
  announce_device(device);
  const Network network = open_model(flags.get<std::string>("model_path"), flags, device);
  if (network.inference.kind == NetworkKind::super_resolution)
    fail(ErrorKind::usage,
         fmt::format("{} is a super-resolution network; nll is of networks that need no picture",
                     network.path));
  announce_network("model", network);
  const Pictures data = open_data(flags, network);
  const Process process = process_of(flags, network.inference);
  const GaussianDiffusion diffusion(process.config);
  announce("process", in_words(diffusion, false, 0));
  for (const std::string& note : process.notes) announce("", note);
  const auto asked = flags.get<std::int64_t>("num_samples");
  const std::int64_t available = data.pixels.dim(0);
  const std::int64_t count = asked == -1 ? available : std::min(asked, available);
  if (flags.given("num_samples") && asked > available)
    warn(fmt::format("--num_samples {}: there are {} pictures, each is taken once", asked,
                     available));
  announce("input", fmt::format("{} of {} pictures from {}", count, available,
                                flags.get<std::string>("data_dir")));

  const auto out = flags.get<std::string>("out");
  Table table(diffusion.steps());
  try {
    measure(flags, network, diffusion, data, count, table);
  } catch (const Error& error) {
    if (table.size() == 0) throw;
    table.print(diffusion);
    table.write(out);
    throw Error(error.kind(), fmt::format("{}; {} of {} pictures are in {}", error.what(),
                                          table.size(), count, out));
  }
  table.print(diffusion);
  table.write(out);
  announce("out", out);
  return 0;
}

}  // namespace tiller
