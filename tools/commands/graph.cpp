// tiller graph: the tape of a forward pass, with what each node keeps for the backward.
#include <algorithm>
#include <map>

#include "autograd/tape.h"
#include "runtime/files/atomic_file.h"
#include "runtime/files/checkpoint.h"
#include "tools/commands/commands.h"
#include "tools/flags/architecture.h"
#include "tools/report/plan.h"
#include "tools/training/state.h"

namespace tiller {

namespace {

// A checkpoint's network, the one that flags describe, or a small one to look at.
Network planned(const Flags& flags) {
  const std::string model = flags.get<std::string>("model_path");
  const std::string classifier = flags.get<std::string>("classifier_path");
  if (!model.empty() && !classifier.empty())
    fail(ErrorKind::usage, "graph shows one network: --model_path or --classifier_path, not both");
  const auto given = given_network_flags(flags);
  Inference inference;
  if (!model.empty() || !classifier.empty()) {
    inference = infer(network_weights(Checkpoint::open(model.empty() ? classifier : model)), given);
  } else if (std::any_of(given.begin(), given.end(),
                         [](const auto& flag) { return flag.first.starts_with("classifier_"); })) {
    inference.kind = NetworkKind::classifier;
    inference.classifier = classifier_config(flags);
  } else if (!given.empty()) {
    inference.unet = unet_config(flags);
    if (inference.unet.super_resolution) inference.kind = NetworkKind::super_resolution;
  } else {
    inference.unet.image_size = 16;
    inference.unet.model_channels = 32;
    inference.unet.num_res_blocks = 1;
    inference.unet.channel_mult = {1, 2};
    inference.unet.attention_downsample = {2};
    fmt::print(stderr, "no network was given: the graph of a small UNet\n");
  }
  return plan_network(inference);
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string kib(std::size_t bytes) {
  return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
}

std::string saved_line(const NodeInfo& node) {
  return fmt::format("{}", fmt::join(node.saved_text, ", "));
}

std::string dot(const std::vector<NodeInfo>& nodes, const std::vector<Leaf>& leaves) {
  std::string text =
      "digraph tape {\n  node [shape=box, fontname=\"monospace\", fontsize=10];\n  rankdir=TB;\n";
  // Leaves have the slots that no node writes.
  std::map<std::string, std::string> clusters;
  std::map<int, bool> written;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const NodeInfo& node = nodes[i];
    written[node.output] = true;
    clusters[node.module] += fmt::format(
        "    s{} [label=\"{}\\n{}\\nkeeps {}\", tooltip=\"{}\"];\n", node.output, node.op,
        escaped(node.output_text), kib(node.saved_bytes), escaped(saved_line(node)));
  }
  int cluster = 0;
  for (const auto& [module, lines] : clusters)
    text += fmt::format("  subgraph cluster_{} {{\n    label=\"{}\";\n{}  }}\n", cluster++,
                        escaped(module.empty() ? "(no module)" : module), lines);
  std::map<int, bool> inputs;
  for (const NodeInfo& node : nodes)
    for (const int slot : node.inputs) {
      if (slot < 0) continue;
      text += fmt::format("  s{} -> s{};\n", slot, node.output);
      if (!written.contains(slot)) inputs[slot] = true;
    }
  std::size_t index = 0;
  for (const auto& [slot, unused] : inputs) {
    // Leaves are watched first, in order: slot i is leaf i.
    const auto leaf = static_cast<std::size_t>(slot);
    text += fmt::format(
        "  s{} [label=\"{}\", shape=ellipse];\n", slot,
        escaped(leaf < leaves.size() ? leaves[leaf].name : fmt::format("leaf {}", index)));
    ++index;
  }
  return text + "}\n";
}

std::string table(const std::vector<NodeInfo>& nodes, std::size_t total) {
  std::string text = fmt::format("{:<22} {:<24} {:>12}  {:<36} {}\n", "operation", "output",
                                 "keeps", "module", "saved");
  for (const NodeInfo& node : nodes)
    text += fmt::format("{:<22} {:<24} {:>12}  {:<36} {}\n", node.op, node.output_text,
                        kib(node.saved_bytes), node.module, saved_line(node));
  return text + fmt::format("{} operations keep {} for the backward\n", nodes.size(), kib(total));
}

}  // namespace

int graph_command(const Flags& flags) {
  const Network network = planned(flags);
  const PlannedInputs in = planned_inputs(network, flags.get<std::int64_t>("batch_size"));
  Tape tape;
  const Var x = tape.watch(in.x, "x");
  if (flags.get<bool>("parameters"))
    for (const Parameter& parameter : network.parameters().all())
      tape.watch(parameter.value, parameter.key);
  {
    const TapeGuard guard(tape);
    planned_output(network, in, x);
  }
  const std::vector<NodeInfo> nodes = tape.nodes();
  const std::string text =
      flags.get<bool>("dot") ? dot(nodes, tape.leaves()) : table(nodes, tape.saved_bytes());
  if (!flags.given("out")) {
    fmt::print("{}", text);
    return 0;
  }
  AtomicFile file(flags.get<std::string>("out"));
  file.write(text);
  file.commit();
  fmt::print(stderr, "{} operations written to {}\n", nodes.size(), flags.get<std::string>("out"));
  return 0;
}

}  // namespace tiller
