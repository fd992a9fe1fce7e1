// tiller inspect: what a file holds. One function per kind of file.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tools/commands/commands.h"
#include "tools/flags/architecture.h"
#include "tools/report/describe.h"
#include "tools/report/plan.h"
#include "tools/report/statistics.h"

namespace tiller {

namespace {

using Json = nlohmann::ordered_json;

std::string megabytes(double bytes) { return fmt::format("{:.1f} MB", bytes * 1e-6); }

std::string first_bytes(const std::string& path, std::size_t count) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(count, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(count));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

Json to_json(const Statistics& s) {
  return {{"count", s.count}, {"nan", s.nan},   {"infinite", s.infinite},  {"min", s.min},
          {"max", s.max},     {"mean", s.mean}, {"deviation", s.deviation}};
}

std::string text_of(const Statistics& s) {
  std::string text = fmt::format("min {:.4g}  max {:.4g}  mean {:.4g}  std {:.4g}", s.min, s.max,
                                 s.mean, s.deviation);
  if (s.nan + s.infinite > 0) text += fmt::format("  {} NaN, {} infinite", s.nan, s.infinite);
  return text;
}

// The report as JSON; print() turns it into text.
Json report_tensor(const FileTensor& entry, const Statistics& s) {
  return {{"name", entry.name},       {"dtype", name(entry.dtype)}, {"shape", entry.shape},
          {"storage", entry.storage}, {"offset", entry.offset},     {"dense", entry.dense()},
          {"statistics", to_json(s)}};
}

struct TensorTotals {
  std::map<std::string, std::int64_t> dtypes;
  std::int64_t elements = 0, nan = 0, infinite = 0;
  double bytes = 0, largest = 0;
  std::string largest_name, first_damaged;
};

Json report_network(const Checkpoint& checkpoint, const Flags& flags) {
  const Inference inference = infer(checkpoint, given_network_flags(flags));
  const Network planned = plan_network(inference);
  Json json;
  json["kind"] = name(inference.kind);
  json["published"] = inference.published;
  json["words"] = architecture_in_words(inference);
  json["flags"] = flag_line(inference);
  json["assumed"] = inference.assumed;
  json["parameters"] = planned.parameters().numel();
  const PassPlan forward = plan_forward(planned, 1);
  json["forward"] = {{"gflop", forward.cost.flops * 1e-9},
                     {"operations", forward.operations},
                     {"activation_bytes", forward.peak_bytes}};
  if (planned.classifier) {
    const PassPlan gradient = plan_gradient(planned, 1);
    json["gradient"] = {{"gflop", gradient.cost.flops * 1e-9},
                        {"operations", gradient.operations},
                        {"activation_bytes", gradient.peak_bytes}};
  }
  // f32 parameters, and the forms that convolutions pack from them.
  json["sampling_bytes"] = 2 * planned.parameters().bytes() + forward.peak_bytes;
  return json;
}

void print_network(const Json& json) {
  const std::string words = json["words"];
  fmt::print("\n{}\n", words);
  if (!json["published"].get<std::string>().empty())
    fmt::print("the shapes of: {}\n", json["published"].get<std::string>());
  for (const auto& line : json["assumed"]) fmt::print("{}\n", line.get<std::string>());
  fmt::print("flags: {}\n", json["flags"].get<std::string>());
  fmt::print("{} parameters\n", json["parameters"].get<std::int64_t>());
  fmt::print("forward, N=1: {:.2f} GFLOP in {} operations\n",
             json["forward"]["gflop"].get<double>(),
             json["forward"]["operations"].get<std::int64_t>());
  if (json.contains("gradient"))
    fmt::print("log-probability and its input gradient, N=1: {:.2f} GFLOP in {} operations\n",
               json["gradient"]["gflop"].get<double>(),
               json["gradient"]["operations"].get<std::int64_t>());
  fmt::print(
      "memory for sampling, N=1: {} (f32 weights twice: as they are and packed; activations {})\n",
      megabytes(json["sampling_bytes"].get<double>()),
      megabytes(json["forward"]["activation_bytes"].get<double>()));
}

Json report_checkpoint(const Checkpoint& checkpoint, const Flags& flags) {
  Json json;
  json["container"] = name(checkpoint.format());
  json["stripped"] = checkpoint.stripped();
  json["metadata"] = checkpoint.metadata();
  json["extras"] = checkpoint.extras();
  TensorTotals totals;
  std::map<int, int> sharers;
  for (const FileTensor& entry : checkpoint.tensors()) {
    const Statistics s = statistics(checkpoint.read(entry));
    totals.elements += s.count;
    totals.nan += s.nan;
    totals.infinite += s.infinite;
    totals.bytes += static_cast<double>(s.count) * static_cast<double>(size_of(entry.dtype));
    ++totals.dtypes[name(entry.dtype)];
    ++sharers[entry.storage];
    const double magnitude = std::max(std::abs(s.min), std::abs(s.max));
    if (magnitude > totals.largest) {
      totals.largest = magnitude;
      totals.largest_name = entry.name;
    }
    if (s.nan + s.infinite > 0 && totals.first_damaged.empty()) totals.first_damaged = entry.name;
    json["tensors"].push_back(report_tensor(entry, s));
  }
  int shared = 0;
  for (const auto& [storage, count] : sharers) shared += count > 1 ? count : 0;
  json["totals"] = {{"tensors", checkpoint.tensors().size()},
                    {"storages", checkpoint.storages().size()},
                    {"tensors_sharing_a_storage", shared},
                    {"dtypes", totals.dtypes},
                    {"elements", totals.elements},
                    {"bytes", totals.bytes},
                    {"nan", totals.nan},
                    {"infinite", totals.infinite},
                    {"first_damaged", totals.first_damaged},
                    {"largest_magnitude", totals.largest},
                    {"largest_magnitude_in", totals.largest_name}};
  try {
    json["network"] = report_network(checkpoint, flags);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) throw;  // a given flag contradicts the file
    json["network_error"] = error.what();
  }
  return json;
}

void print_checkpoint(const Json& json, bool all) {
  const Json& totals = json["totals"];
  std::string dtypes;
  for (const auto& [dtype, count] : totals["dtypes"].items())
    dtypes += fmt::format("{}{} {}", dtypes.empty() ? "" : ", ", count.get<std::int64_t>(), dtype);
  fmt::print("{}{}: {} tensors ({}) in {} storages, {}\n", json["container"].get<std::string>(),
             json["stripped"].get<std::string>().empty()
                 ? ""
                 : fmt::format(", \"{}\" stripped", json["stripped"].get<std::string>()),
             totals["tensors"].get<std::int64_t>(), dtypes, totals["storages"].get<std::int64_t>(),
             megabytes(totals["bytes"].get<double>()));
  if (const auto n = totals["tensors_sharing_a_storage"].get<std::int64_t>())
    fmt::print("{} tensors are views into shared storages\n", n);
  for (const auto& [key, value] : json["extras"].items())
    fmt::print("beside the weights: {} = {}\n", key, value.get<std::string>());
  for (const auto& [key, value] : json["metadata"].items())
    fmt::print("metadata {}: {}\n", key, value.get<std::string>());
  fmt::print("largest magnitude {:.4g} in {}\n", totals["largest_magnitude"].get<double>(),
             totals["largest_magnitude_in"].get<std::string>());
  if (!totals["first_damaged"].get<std::string>().empty())
    fmt::print("warning: {} NaN and {} infinite values, first in {}\n",
               totals["nan"].get<std::int64_t>(), totals["infinite"].get<std::int64_t>(),
               totals["first_damaged"].get<std::string>());
  if (all)
    for (const Json& t : json["tensors"]) {
      const Json& s = t["statistics"];
      fmt::print(
          "  {:<48} {:<5} {:<20} storage {} + {}  min {:.4g}  max {:.4g}  mean {:.4g}  std "
          "{:.4g}{}\n",
          t["name"].get<std::string>(), t["dtype"].get<std::string>(), t["shape"].dump(),
          t["storage"].get<int>(), t["offset"].get<std::int64_t>(), s["min"].get<double>(),
          s["max"].get<double>(), s["mean"].get<double>(), s["deviation"].get<double>(),
          s["nan"].get<std::int64_t>() + s["infinite"].get<std::int64_t>() > 0 ? "  NOT FINITE"
                                                                               : "");
    }
  if (json.contains("network"))
    print_network(json["network"]);
  else
    fmt::print("\nno network of guided-diffusion: {}\n", json["network_error"].get<std::string>());
}

Json report_optimizer(const std::string& path) {
  const OptimizerFile optimizer = read_optimizer(path);
  Json json;
  json["container"] = "optimizer state of AdamW";
  std::int64_t elements = 0;
  double step = 0;
  for (const auto& [index, state] : optimizer.state) {
    elements += state.exp_avg.numel();
    step = std::max(step, state.step);
  }
  json["step"] = step;
  json["states"] = optimizer.state.size();
  json["elements"] = elements;
  for (const auto& group : optimizer.groups)
    json["groups"].push_back({{"parameters", group.params.size()}, {"options", group.options}});
  return json;
}

void print_optimizer(const Json& json) {
  fmt::print("{}: step {:g}, {} states, {} elements each of exp_avg and exp_avg_sq\n",
             json["container"].get<std::string>(), json["step"].get<double>(),
             json["states"].get<std::int64_t>(), json["elements"].get<std::int64_t>());
  for (const Json& group : json["groups"]) {
    std::string options;
    for (const auto& [key, value] : group["options"].items())
      options += fmt::format("  {} {:g}", key, value.get<double>());
    fmt::print("group of {} parameters:{}\n", group["parameters"].get<std::int64_t>(), options);
  }
  fmt::print("these are no weights; they lie beside it (model*.pt, ema_*.pt)\n");
}

Json report_arrays(const std::string& path) {
  const NpzReader file = NpzReader::open(path);
  Json json;
  json["container"] = "numpy arrays";
  for (const ArrayInfo& array : file.arrays()) {
    // In blocks: sample files are larger than memory.
    Statistics total;
    const bool stream = !array.shape.empty() && array.bytes > (std::uint64_t{1} << 26);
    if (!stream) total = statistics(file.read(array.name));
    Json entry = {{"name", array.name},
                  {"dtype", name(array.dtype)},
                  {"shape", array.shape},
                  {"compressed", array.compressed}};
    if (!stream) entry["statistics"] = to_json(total);
    json["arrays"].push_back(entry);
  }
  return json;
}

void print_arrays(const Json& json) {
  for (const Json& array : json["arrays"]) {
    std::string statistics;
    if (array.contains("statistics")) {
      const Json& s = array["statistics"];
      statistics =
          text_of({s["count"].get<std::int64_t>(), s["nan"].get<std::int64_t>(),
                   s["infinite"].get<std::int64_t>(), s["min"].get<double>(),
                   s["max"].get<double>(), s["mean"].get<double>(), s["deviation"].get<double>()});
    }
    fmt::print("{:<28} {:<5} {:<22} {}\n", array["name"].get<std::string>(),
               array["dtype"].get<std::string>(), array["shape"].dump(), statistics);
  }
}

Json report_picture(const std::string& path) {
  const ImageInfo info = read_image_info(path);
  Json json;
  json["container"] = "picture";
  json["width"] = info.width;
  json["height"] = info.height;
  json["channels"] = info.channels;
  json["bit_depth"] = info.bit_depth;
  json["text"] = info.text;
  return json;
}

void print_picture(const Json& json) {
  fmt::print("picture of {}x{} pixels, {} channels of {} bits\n", json["width"].get<std::int64_t>(),
             json["height"].get<std::int64_t>(), json["channels"].get<std::int64_t>(),
             json["bit_depth"].get<int>());
  for (const auto& [key, value] : json["text"].items())
    fmt::print("{}: {}\n", key, value.get<std::string>());
}

bool is_picture(const std::string& head) {
  return head.starts_with("\x89PNG") || head.starts_with("\xFF\xD8\xFF");
}

bool is_arrays(const std::string& path, const std::string& head) {
  return head.starts_with("\x93NUMPY") ||
         (head.starts_with("PK") && std::filesystem::path(path).extension() == ".npz");
}

}  // namespace

int inspect_command(const Flags& flags) {
  const std::string path = flags.argument("FILE");
  const std::string head = first_bytes(path, 16);
  Json json;
  void (*print)(const Json&) = nullptr;
  if (is_picture(head)) {
    json = report_picture(path);
    print = print_picture;
  } else if (is_arrays(path, head)) {
    json = report_arrays(path);
    print = print_arrays;
  } else {
    const Checkpoint checkpoint = Checkpoint::open(path);
    if (checkpoint.content() == FileContent::optimizer) {
      json = report_optimizer(path);
      print = print_optimizer;
    } else {
      json = report_checkpoint(checkpoint, flags);
    }
  }
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  json["file"] = path;
  json["file_bytes"] = error ? 0 : size;
  if (flags.get<bool>("json")) {
    fmt::print("{}\n", json.dump(2));
    return 0;
  }
  fmt::print("{} ({})\n", path, megabytes(static_cast<double>(size)));
  if (print)
    print(json);
  else
    print_checkpoint(json, flags.get<bool>("tensors"));
  return 0;
}

}  // namespace tiller
