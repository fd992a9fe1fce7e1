// tiller_bench_step: what a sampling step costs, as `tiller sample` runs it (captured, on a GPU),
// with guidance and without, and with the profiler looking on. Takes sample's flags; prints one JSON
// object per run.
#include <nlohmann/json.hpp>

#include "runtime/backend.h"
#include "tools/network.h"
#include "tools/profile/recorder.h"
#include "tools/sampling/denoiser.h"
#include "tools/sampling/process.h"

namespace tiller::bench {

namespace {

constexpr int kBlocks = 5;  // the steps are timed in so many blocks, each waited for; where steps
                            // are not captured, in turn with blocks that are profiled
constexpr int kWarmSteps = 2;  // the first runs as it is, the second is captured

struct Setting {
  const Flags& flags;
  const Network& unet;
  const Network* classifier;
  const GaussianDiffusion& diffusion;
  Device device;
};

nlohmann::json measure(const Setting& s) {
  const auto n = s.flags.get<std::int64_t>("batch_size");
  const std::int64_t size = s.unet.image_size(), channels = s.unet.unet->config().in_channels;
  Denoiser denoiser(*s.unet.unet, s.classifier ? s.classifier->classifier.get() : nullptr, 1,
                    s.diffusion);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) labels[static_cast<std::size_t>(i)] = i % 10;
  denoiser.start(n, Tensor::from(labels, {n}));
  SampleOptions options;
  options.graph = !s.flags.get<bool>("no_graph");
  options.step_noise = StepNoise{0, 0};
  const NoiseSource noise = [&](std::int64_t draw, const Shape& shape) {
    return philox_noise(0, 0)(draw, shape).to(s.device);
  };
  Backend& memory = backend(s.device);
  memory.reset_peak();
  Sampler sampler(s.diffusion, denoiser.model(), denoiser.guide(), options,
                  {n, size, size, channels}, noise);
  // Not looked at step by step, which would wait for the device: random weights may overflow, too.
  denoiser.follow(sampler.state(), true);
  const auto wait = [&] { memory.synchronize(current_stream(s.device)); };
  for (int i = 0; i < kWarmSteps; ++i) sampler.next();
  wait();
  // What is captured calls no operation that could be recorded.
  const bool profiled = !sampler.graph().captured();
  const std::int64_t each = (s.diffusion.steps() - kWarmSteps) / (profiled ? 2 * kBlocks : kBlocks);
  const auto block = [&] {
    const std::int64_t begin = now_ns();
    for (std::int64_t i = 0; i < each; ++i) sampler.next();
    wait();
    return 1e-9 * static_cast<double>(now_ns() - begin) / static_cast<double>(each);
  };
  std::vector<double> times, profiled_times;
  std::size_t operations = 0;
  for (int i = 0; i < kBlocks; ++i) {
    times.push_back(block());
    if (!profiled) continue;
    const Recorder recorder({});
    profiled_times.push_back(block());
    operations = recorder.recording().ops.size() / static_cast<std::size_t>(each);
  }
  return {{"guided", s.classifier != nullptr},
          {"batch", n},
          {"size", size},
          {"device", memory.describe()},
          {"captured", sampler.graph().captured()},
          {"nodes", sampler.graph().nodes()},
          {"peak_bytes", memory.memory().peak},
          {"finite", denoiser.numbers_are_finite()},
          {"times", times},
          {"profiled_times", profiled_times},
          {"operations", operations}};
}

int run(const std::vector<std::string>& arguments) {
  const Flags flags = Flags::parse(command_spec("sample"), arguments);
  if (flags.help()) {
    fmt::print(
        "tiller_bench_step --model_path FILE [--classifier_path FILE] [--batch_size N] [--device "
        "cuda]\n  [--timestep_respacing STEPS] [--use_fp16 True] [--classifier_use_fp16 True] "
        "[--no_graph True]\nSeconds per step, unguided and guided, as JSON lines.\n");
    return 0;
  }
  const Device device = device_of(flags);
  if (!flags.given("model_path"))
    fail(ErrorKind::usage, "tiller_bench_step needs --model_path FILE");
  const Network unet = open_model(flags.get<std::string>("model_path"), flags, device);
  const GaussianDiffusion diffusion(process_of(flags, unet.inference).config);
  if (diffusion.steps() < kWarmSteps + 2 * kBlocks)
    fail(ErrorKind::usage, fmt::format("--timestep_respacing: at least {} steps are needed",
                                       kWarmSteps + 2 * kBlocks));
  fmt::print("{}\n", measure({flags, unet, nullptr, diffusion, device}).dump());
  if (!flags.given("classifier_path")) return 0;
  const Network classifier =
      open_classifier(flags.get<std::string>("classifier_path"), flags, device);
  fmt::print("{}\n", measure({flags, unet, &classifier, diffusion, device}).dump());
  return 0;
}

}  // namespace

}  // namespace tiller::bench

int main(int argc, char** argv) {
  try {
    return tiller::bench::run({argv + 1, argv + argc});
  } catch (const tiller::Error& error) {
    fmt::print(stderr, "tiller_bench_step: {}\n", error.what());
    return error.exit_code();
  }
}
