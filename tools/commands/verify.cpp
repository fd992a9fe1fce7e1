// tiller verify: our numbers against PyTorch's.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "nn/module.h"
#include "tools/commands/commands.h"
#include "tools/report/comparison.h"
#include "tools/report/reference.h"
#include "tools/training/state.h"

namespace tiller {

namespace {

/// Every module's output by its path, in the order in which they ran.
class Recorder final : public ActivationObserver {
 public:
  Recorder() : previous_(activation_observer()) { activation_observer() = this; }
  ~Recorder() override { activation_observer() = previous_; }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  void on_output(const std::string& path, const Tensor& output) override {
    outputs.emplace_back(path, output);
  }
  std::vector<std::pair<std::string, Tensor>> outputs;

 private:
  ActivationObserver* previous_;
};

struct Verdict {
  std::vector<Comparison> results;  ///< the network's outputs
  std::vector<Comparison> blocks;   ///< activations, in the order in which they ran
  double seconds = 0;
  bool passed() const {
    for (const Comparison& c : results)
      if (!c.passed) return false;
    return !results.empty();
  }
};

// The gradient needs a backward pass; without `grad` the forward is enough.
void run_classifier(const Classifier& network, const NpzReader& file, const ReferenceInputs& in,
                    double tolerance, Verdict& verdict) {
  Tensor logits, gradient;
  if (file.contains("grad")) {
    gradient = network.log_prob_gradient(in.x, in.t, in.y, &logits);
  } else {
    logits = network(in.x, in.t).value();
  }
  if (file.contains("logits"))
    verdict.results.push_back(
        compare("logits", logits.to(kCpu), read_floats(file, "logits"), tolerance));
  if (gradient)
    verdict.results.push_back(
        compare("grad", channels_first(gradient.to(kCpu)), read_floats(file, "grad"), tolerance));
}

Verdict run(const Network& network, const NpzReader& file, const ReferenceInputs& in,
            const NpzReader* activations, double tolerance) {
  Verdict verdict;
  std::optional<Recorder> recorder;
  if (activations) recorder.emplace();  // keeps every activation alive
  const auto begin = std::chrono::steady_clock::now();
  if (network.classifier) {
    run_classifier(*network.classifier, file, in, tolerance, verdict);
  } else {
    const Var out = (*network.unet)(in.x, in.t, in.y, in.low_res ? Var(in.low_res) : Var());
    verdict.results.push_back(
        compare("out", channels_first(out.value().to(kCpu)), read_floats(file, "out"), tolerance));
  }
  verdict.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!activations) return verdict;
  for (const auto& [path, output] : recorder->outputs)
    if (activations->contains(path))
      verdict.blocks.push_back(
          compare(path, channels_first(cast_on_host(output.contiguous().to(kCpu), DType::f32)),
                  read_floats(*activations, path), tolerance));
  return verdict;
}

DType torso(const Network& network) {
  return network.classifier ? network.classifier->config().torso : network.unet->config().torso;
}

double default_tolerance(DType torso) {
  switch (torso) {
    case DType::f16:
      return 1e-2;
    case DType::bf16:
      return 5e-2;
    default:
      return 1e-4;
  }
}

bool order_was_assumed(const Network& network) {
  for (const std::string& line : network.inference.assumed)
    if (line.find("use_new_attention_order") != std::string::npos) return true;
  return false;
}

// A wrong order of qkv loads without a word and gives noise: try the other one before blaming us.
void try_other_order(const Network& network, const NpzReader& file, const ReferenceInputs& in,
                     double tolerance) {
  if (!order_was_assumed(network)) return;
  Inference other = network.inference;
  QkvOrder& order =
      other.kind == NetworkKind::classifier ? other.classifier.qkv_order : other.unet.qkv_order;
  order = order == QkvOrder::legacy ? QkvOrder::split : QkvOrder::legacy;
  const char* flag = order == QkvOrder::split ? "True" : "False";
  const Network again =
      load_network(network_weights(Checkpoint::open(network.path)), other, in.x.device());
  if (run(again, file, in, nullptr, tolerance).passed())
    fmt::print(stderr, "with --use_new_attention_order {} the network agrees with the reference\n",
               flag);
  else
    fmt::print(stderr,
               "--use_new_attention_order {} does not agree either; were --num_heads, "
               "--num_head_channels or another flag set in training?\n",
               flag);
}

void print_text(const Verdict& verdict, double tolerance) {
  fmt::print("{}", comparison_table(verdict.results));
  if (!verdict.blocks.empty()) {
    const auto first = std::find_if(verdict.blocks.begin(), verdict.blocks.end(),
                                    [](const Comparison& c) { return !c.passed; });
    const auto end = first == verdict.blocks.end() ? first : first + 1;
    fmt::print("\n{}", comparison_table({verdict.blocks.begin(), end}));
    if (first == verdict.blocks.end())
      fmt::print("all {} blocks agree\n", verdict.blocks.size());
    else
      fmt::print("the first block that diverges is {}\n", first->name);
  }
  fmt::print("{} within {:g} (relative L2), {:.2f} s\n",
             verdict.passed() ? "agrees" : "does NOT agree", tolerance, verdict.seconds);
}

void print_json(const Verdict& verdict, const Network& network, double tolerance) {
  nlohmann::json json;
  json["passed"] = verdict.passed();
  json["tolerance"] = tolerance;
  json["seconds"] = verdict.seconds;
  json["results"] = nlohmann::json::parse(comparison_json(verdict.results));
  json["blocks"] = nlohmann::json::parse(comparison_json(verdict.blocks));
  json["assumed"] = network.inference.assumed;
  json["warnings"] = network.warnings;
  json["first_divergence"] = nullptr;
  for (const Comparison& c : verdict.blocks)
    if (!c.passed) {
      json["first_divergence"] = c.name;
      break;
    }
  fmt::print("{}\n", json.dump(2));
}

}  // namespace

int verify_command(const Flags& flags) {
  const std::string model = flags.get<std::string>("model_path");
  const std::string classifier = flags.get<std::string>("classifier_path");
  if (model.empty() == classifier.empty())
    fail(ErrorKind::usage, "verify needs one network: --model_path FILE or --classifier_path FILE");
  if (!flags.given("reference"))
    fail(ErrorKind::usage,
         "verify needs --reference FILE.npz: PyTorch's inputs and outputs, as "
         "tools/dump_reference.py writes them");
  const Device device = device_of(flags);
  if (device.type == DeviceType::meta)
    fail(ErrorKind::usage, "verify compares numbers, and meta has none; use cpu, cuda or simt");

  const NpzReader file = NpzReader::open(flags.get<std::string>("reference"));
  check_reference_complete(file, !classifier.empty());
  const ReferenceInputs in = read_reference_inputs(file).on(device);
  std::optional<NpzReader> activations;
  if (flags.given("activations"))
    activations = NpzReader::open(flags.get<std::string>("activations"));
  const Network network = classifier.empty() ? open_model(model, flags, device)
                                             : open_classifier(classifier, flags, device);
  print_notes(network);
  check_reference_fits(file, in, network);

  double tolerance = flags.get<double>("tolerance");
  if (!flags.given("tolerance")) {
    tolerance = default_tolerance(torso(network));
    if (torso(network) != DType::f32)
      fmt::print(stderr, "half precision: the default tolerance is {:g}\n", tolerance);
  }
  const Verdict verdict = run(network, file, in, activations ? &*activations : nullptr, tolerance);
  if (activations && verdict.blocks.empty())
    fail(
        ErrorKind::checkpoint,
        "no array of the activations file is named like a module of the network (input_blocks.0.0, "
        "middle_block.1, out, ...)");
  if (flags.get<bool>("json"))
    print_json(verdict, network, tolerance);
  else
    print_text(verdict, tolerance);
  if (verdict.passed()) return 0;
  try_other_order(network, file, in, tolerance);
  return 1;
}

}  // namespace tiller
