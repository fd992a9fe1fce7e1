// tiller profile: where the time goes, of another command or of one network by itself.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "nn/published.h"
#include "runtime/backend.h"
#include "runtime/files/atomic_file.h"
#include "runtime/parallel.h"
#include "runtime/random.h"
#include "tools/commands/commands.h"
#include "tools/network.h"
#include "tools/profile/report.h"
#include "tools/program.h"

namespace tiller {

namespace {

/// Sends standard output to standard error until it dies: the profile alone is this command's data.
class OutputToErrors {
 public:
  OutputToErrors() {
    std::fflush(stdout);
    saved_ = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  ~OutputToErrors() {
    std::fflush(stdout);
    dup2(saved_, STDOUT_FILENO);
    close(saved_);
  }
  OutputToErrors(const OutputToErrors&) = delete;
  OutputToErrors& operator=(const OutputToErrors&) = delete;

 private:
  int saved_ = -1;
};

Network published_network(const std::string& wanted, std::uint64_t seed, Device device) {
  std::string names;
  for (const KnownModel& model : known_models()) {
    if (wanted == model.name) {
      Network network;
      network.path = model.name;
      network.inference.kind = model.kind;
      const auto source = randomize_parameters(seed, DType::f32, device);
      if (model.kind == NetworkKind::classifier)
        network.classifier = std::make_unique<Classifier>(classifier_config(model), *source);
      else
        network.unet = std::make_unique<UNet>(unet_config(model), *source);
      return network;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", model.name);
  }
  fail(ErrorKind::usage, fmt::format("--published {}: no such model; there are {}", wanted, names));
}

Tensor normal(const Shape& shape, std::uint64_t seed, Device device) {
  const Tensor noise = Tensor::empty(shape);
  fill_normal(noise, {.seed = seed, .stream = RandomStream::x_start});
  return noise.to(device);
}

/// One pass: a UNet's forward, or a classifier's log-probability with its input gradient.
struct Pass {
  const Network& network;
  Tensor x, t, y, low_res;

  Pass(const Network& net, std::int64_t batch, std::uint64_t seed, Device device) : network(net) {
    const std::int64_t size = net.image_size();
    const std::int64_t channels =
        net.classifier ? net.classifier->config().in_channels : net.unet->config().in_channels;
    x = normal({batch, size, size, channels}, seed, device);
    t = fill({batch}, DType::f32, device, 500);
    if (net.num_classes() > 0)
      y = Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(batch), 0), {batch},
                       device);
    if (net.unet && net.unet->config().super_resolution)
      low_res = normal({batch, size / 4, size / 4, channels}, seed + 1, device);
  }

  void operator()() const {
    if (network.classifier) {
      const PhaseScope phase("classifier");
      network.classifier->log_prob_gradient(x, t, y);
      return;
    }
    const NoGrad no_recording;
    const PhaseScope phase("unet");
    (*network.unet)(x, t, y, low_res ? Var(low_res) : Var());
  }
};

Network network_of(const Flags& flags, Device device) {
  const bool published = flags.given("published");
  const bool model = flags.given("model_path"), classifier = flags.given("classifier_path");
  if (published + model + classifier != 1)
    fail(ErrorKind::usage,
         "profile: what? Give a command behind -- (tiller profile -- sample ...), or one network "
         "by --model_path, --classifier_path or --published");
  if (published)
    return published_network(flags.get<std::string>("published"), flags.get<std::uint64_t>("seed"),
                             device);
  return model ? open_model(flags.get<std::string>("model_path"), flags, device)
               : open_classifier(flags.get<std::string>("classifier_path"), flags, device);
}

std::unique_ptr<Recorder> record_network(const Flags& flags, Device device, StepWindow window) {
  const Network network = network_of(flags, device);
  print_notes(network);
  const Pass pass(network, flags.get<std::int64_t>("batch_size"), flags.get<std::uint64_t>("seed"),
                  device);
  pass();  // packs the weights, fills the allocator's cache, faults the pages in
  auto recorder = std::make_unique<Recorder>(window);
  const int repeat = flags.get<int>("repeat");
  for (int i = 0; i < repeat; ++i) {
    const StepScope step(i);
    pass();
  }
  return recorder;
}

void write_file(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string joined(const std::vector<std::string>& words) {
  std::string text = "tiller";
  for (const std::string& word : words)
    text += " " + (word.empty() || word.find(' ') != std::string::npos ? "'" + word + "'" : word);
  return text;
}

int compare(const Flags& flags) {
  const std::string after = flags.argument("AFTER");
  if (after.empty())
    fail(ErrorKind::usage, "profile --compare BEFORE AFTER: the later profile is missing");
  fmt::print(
      "{}", profile_comparison(read_profile(flags.get<std::string>("compare")), read_profile(after),
                               parse_by(flags.get<std::string>("by")), flags.get<int>("top")));
  return 0;
}

}  // namespace

int profile_command(const Flags& flags) {
  if (flags.given("compare")) return compare(flags);
  if (!flags.argument("AFTER").empty())
    fail(ErrorKind::usage,
         fmt::format("profile: a command goes behind --: tiller profile -- {} ...",
                     flags.argument("AFTER")));
  const StepWindow window = parse_steps(flags.get<std::string>("steps"));
  const ProfileBy by = parse_by(flags.get<std::string>("by"));
  std::unique_ptr<Recorder> recorder;
  std::string command;
  Device device = kCpu;
  int code = 0;
  if (flags.rest().empty()) {
    device = device_of(flags);
    command =
        fmt::format("one network: {}, batch {}",
                    flags.given("published")         ? flags.get<std::string>("published")
                    : flags.given("classifier_path") ? flags.get<std::string>("classifier_path")
                                                     : flags.get<std::string>("model_path"),
                    flags.get<std::int64_t>("batch_size"));
    recorder = record_network(flags, device, window);
  } else {
    if (flags.rest()[0] == "profile") fail(ErrorKind::usage, "profile: cannot profile itself");
    command = joined(flags.rest());
    const OutputToErrors redirected;
    recorder = std::make_unique<Recorder>(window);
    code = run_command(flags.rest()[0], {flags.rest().begin() + 1, flags.rest().end()});
    device = recorder->device();
  }
  const Recording recording = recorder->recording();
  recorder.reset();  // the ceilings below are no part of the profile
  if (recording.ops.empty())
    fail(ErrorKind::usage,
         fmt::format("no operation ran in the window{}",
                     recording.outside > 0
                         ? fmt::format(" --steps {}; {} ran outside it",
                                       flags.get<std::string>("steps"), recording.outside)
                         : ""));
  const Ceilings ceilings = device == kCpu ? measure_ceilings() : Ceilings{};
  Profile profile = summarize(recording, ceilings, flags.get<int>("depth"));
  profile.command = command;
  profile.threads = threads();
  profile.device = backend(device).describe();
  profile.version = kVersion;
  if (!flags.get<std::string>("out").empty())
    write_file(flags.get<std::string>("out"), profile_json(profile));
  if (!flags.get<std::string>("trace").empty())
    write_file(flags.get<std::string>("trace"), chrome_trace(recording));
  if (flags.get<bool>("json"))
    fmt::print("{}", profile_json(profile));
  else if (flags.get<bool>("csv"))
    fmt::print("{}", profile_csv(profile, by));
  else
    fmt::print("{}", profile_text(profile, by, flags.get<int>("top")));
  return code;
}

}  // namespace tiller
