#include "tools/sampling/announce.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/backend.h"
#include "runtime/parallel.h"
#include "tools/program.h"
#include "tools/report/describe.h"
#include "tools/report/plan.h"

namespace tiller {

namespace {

std::string in_mebibytes(std::size_t bytes) {
  return fmt::format("{:.4g} MiB", static_cast<double>(bytes) / (1 << 20));
}

// As a shell takes it.
std::string quoted(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_-./,:=+@%").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

namespace {
// Bytes of the weights: bf16 ones are two bytes an element, vectors always four.
std::size_t weight_bytes(const Network& network, std::optional<FrozenWeights> weights) {
  if (weights != FrozenWeights::bf16) return network.parameters().bytes();
  std::size_t bytes = 0;
  for (const Parameter& p : network.parameters().all())
    bytes += p.value.storage()->frozen() ? p.value.bytes() / 2 : p.value.bytes();
  return bytes;
}
}  // namespace

MemoryPlan plan_memory(const Inference& unet, const Inference* classifier, std::int64_t batch,
                       std::int64_t steps, const Shape& picture,
                       std::optional<FrozenWeights> weights) {
  const auto plan_of = weights ? plan_frozen_network : plan_network;
  MemoryPlan plan;
  const Network network = plan_of(unet);
  plan.weights = weight_bytes(network, weights);
  const PassPlan forward = plan_forward(network, batch, picture[0], picture[1]);
  plan.packed = forward.packed_bytes;
  plan.activations = forward.peak_bytes;
  if (classifier) {
    const Network guide = plan_of(*classifier);
    plan.weights += weight_bytes(guide, weights);
    const PassPlan gradient = plan_gradient(guide, batch);
    plan.packed += gradient.packed_bytes;
    plan.activations = std::max(plan.activations, gradient.peak_bytes);
  }
  const std::int64_t embedding = 4 * unet.unet.model_channels;
  plan.activations += static_cast<std::size_t>(steps * batch * embedding) * sizeof(float);
  return plan;
}

std::size_t machine_memory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

std::int64_t fitting_batch(const Inference& unet, const Inference* classifier, std::int64_t batch,
                           std::int64_t steps, const Shape& picture,
                           std::optional<FrozenWeights> weights) {
  const std::size_t room = machine_memory() / 10 * 8;
  while (batch > 1 && plan_memory(unet, classifier, batch, steps, picture, weights).total() > room)
    batch /= 2;
  return batch;
}

// Not fmt::print, here and in the progress: it throws when nobody reads standard error any more,
// and a run of days must not end for that.
void announce(const std::string& what, const std::string& text) {
  std::string indented = text;
  for (std::size_t at = 0; (at = indented.find('\n', at)) != std::string::npos; at += 12)
    indented.insert(at + 1, 11, ' ');
  std::fputs(fmt::format("{:<10} {}\n", what, indented).c_str(), stderr);
}

void warn(const std::string& text) {
  std::fputs(fmt::format("warning: {}\n", text).c_str(), stderr);
}

void announce_network(const std::string& what, const Network& network) {
  announce(what,
           fmt::format(
               "{}{}\n{}", network.path,
               network.inference.published.empty() ? "" : " (" + network.inference.published + ")",
               architecture_in_words(network.inference)));
  for (const std::string& line : network.inference.assumed) announce("", line);
  for (const std::string& line : network.warnings) warn(line);
}

void announce_device(Device device) {
  announce("device",
           fmt::format(
               "{}: {}{}", to_string(device), backend(device).describe(),
               device.type == DeviceType::cpu ? fmt::format(", {} threads used", threads()) : ""));
}

void announce_memory(const MemoryPlan& plan, std::int64_t batch) {
  const std::string packed =
      plan.packed > 0 ? fmt::format(", in the kernels' order {} more", in_mebibytes(plan.packed))
                      : std::string();
  announce("memory", fmt::format("{}: weights {}{}, activations {} at batches of {}",
                                 in_mebibytes(plan.total()), in_mebibytes(plan.weights), packed,
                                 in_mebibytes(plan.activations), batch));
  if (plan.total() > machine_memory())
    warn(fmt::format("this machine has {}; a smaller --batch_size needs less",
                     in_mebibytes(machine_memory())));
}

std::map<std::string, std::string> configuration_text(
    const Flags& flags, const std::map<std::string, std::string>& resolved, const Network& unet,
    const Network* classifier) {
  std::map<std::string, std::string> run = flags.given_texts(flags.command().flags);
  for (const auto& [flag, value] : resolved) run[flag] = value;
  std::map<std::string, std::string> text = {{"Software", fmt::format("Tiller {}", kVersion)},
                                             {"seed", flags.text("seed")},
                                             {"configuration", nlohmann::json(run).dump()},
                                             {"model", flag_line(unet.inference)}};
  if (classifier) text["classifier"] = flag_line(classifier->inference);
  return text;
}

std::string command_line(const Flags& flags, const std::map<std::string, std::string>& replaced) {
  std::map<std::string, std::string> all = flags.given_texts(flags.command().flags);
  for (const char* elsewhere :
       {"out", "save", "preview_every", "device", "threads", "kernel", "batch_size", "no_graph"})
    if (!replaced.contains(elsewhere)) all.erase(elsewhere);
  for (const auto& [flag, value] : replaced) all[flag] = value;
  std::string line = fmt::format("tiller {}", flags.command().name);
  for (const auto& [flag, value] : all) line += fmt::format(" --{} {}", flag, quoted(value));
  return line;
}

}  // namespace tiller
