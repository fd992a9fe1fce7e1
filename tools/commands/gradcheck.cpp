// tiller gradcheck: every backward against central differences, in double precision.
#include "autograd/gradcheck.h"

#include <nlohmann/json.hpp>

#include "nn/classifier.h"
#include "nn/unet.h"
#include "tools/commands/commands.h"
#include "tools/network.h"

namespace tiller {

namespace {

struct Line {
  std::string name;
  GradcheckReport report;
};

Tensor random(const Shape& shape, std::uint64_t seed) {
  std::vector<float> normal(static_cast<std::size_t>(shape.numel()));
  philox_normal({.seed = seed}, shape.numel(), normal.data());
  return Tensor::from(std::vector<double>(normal.begin(), normal.end()), shape);
}

UNetConfig tiny_unet() {
  UNetConfig config;
  config.image_size = 8;
  config.out_channels = 6;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.num_head_channels = 16;
  config.num_classes = 4;
  config.resblock_updown = true;
  return config;
}

ClassifierConfig tiny_classifier() {
  ClassifierConfig config;
  config.image_size = 8;
  config.num_classes = 4;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.channel_mult = {1, 2};
  config.attention_downsample = {2};
  config.num_head_channels = 16;
  return config;
}

Line check_unet(std::uint64_t seed, const GradcheckOptions& options) {
  const auto source = randomize_parameters(seed, DType::f64);
  const UNet network(tiny_unet(), *source);
  const Tensor t = Tensor::from(std::vector<double>{250.5}, {1});
  const Tensor y = Tensor::from(std::vector<std::int64_t>{2}, {1});
  const auto f = [&](const std::vector<Var>& in) { return network(in[0], t, y); };
  return {"tiny UNet, by its input", gradcheck(f, {random({1, 8, 8, 3}, seed)}, options)};
}

Line check_classifier(std::uint64_t seed, const GradcheckOptions& options) {
  const auto source = randomize_parameters(seed, DType::f64);
  const Classifier network(tiny_classifier(), *source);
  const Tensor t = Tensor::from(std::vector<double>{40.0}, {1});
  const Tensor y = Tensor::from(std::vector<std::int64_t>{1}, {1});
  const auto f = [&](const std::vector<Var>& in) { return cross_entropy(network(in[0], t), y); };
  return {"tiny classifier, log p(y|x) by its input",
          gradcheck(f, {random({1, 8, 8, 3}, seed)}, options)};
}

}  // namespace

int gradcheck_command(const Flags& flags) {
  if (const Device device = device_of(flags); device != kCpu)
    fail(ErrorKind::usage,
         fmt::format("gradcheck runs on the cpu, which alone has double precision, not on {}",
                     to_string(device)));
  GradcheckOptions options;
  options.tolerance = flags.get<double>("tolerance");
  options.seed = flags.get<std::uint64_t>("seed") + 1;
  const std::string wanted = flags.argument("OP");
  const std::string network = flags.get<std::string>("network");
  const bool json = flags.get<bool>("json");

  std::vector<Line> lines;
  const auto add = [&](Line line) {
    if (!json) fmt::print("{:<52} {}\n", line.name, line.report.text());
    lines.push_back(std::move(line));
  };
  for (const GradcheckCase& c : gradcheck_cases()) {
    if (!wanted.empty() && c.name.find(wanted) == std::string::npos) continue;
    std::vector<Tensor> inputs;
    for (const GradcheckCase::Input& input : c.inputs) inputs.push_back(input.value);
    add({c.name, gradcheck(c.f, inputs, options)});
  }
  if (!wanted.empty() && lines.empty())
    fail(ErrorKind::usage, fmt::format("no operation's name contains \"{}\"", wanted));
  const bool networks = wanted.empty() || flags.given("network");
  if (networks && (network == "unet" || network == "all")) add(check_unet(options.seed, options));
  if (networks && (network == "classifier" || network == "all"))
    add(check_classifier(options.seed, options));

  std::size_t failed = 0;
  for (const Line& line : lines) failed += !line.report.passed();
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Line& line : lines)
      list.push_back({{"name", line.name},
                      {"passed", line.report.passed()},
                      {"worst_error", line.report.worst_error()}});
    fmt::print("{}\n", list.dump(2));
  } else {
    fmt::print("{} checked, {} failed (tolerance {:g})\n", lines.size(), failed, options.tolerance);
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace tiller
