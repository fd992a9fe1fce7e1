// tiller inspect: what a file holds. One function per kind of file.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/files/image.h"
#include "runtime/files/mapped_file.h"
#include "runtime/files/npz.h"
#include "runtime/files/zip_directory.h"
#include "tools/commands/commands.h"
#include "tools/flags/architecture.h"
#include "tools/report/describe.h"
#include "tools/report/plan.h"
#include "tools/report/printable.h"
#include "tools/report/statistics.h"
#include "tools/training/state.h"

namespace tiller {

namespace {

using Json = nlohmann::ordered_json;

std::string size_text(double bytes) {
  if (bytes < 1e3) return fmt::format("{:g} bytes", bytes);
  if (bytes < 1e6) return fmt::format("{:.1f} kB", bytes * 1e-3);
  if (bytes < 1e9) return fmt::format("{:.1f} MB", bytes * 1e-6);
  return fmt::format("{:.2f} GB", bytes * 1e-9);
}

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

std::string text_of(const Json& s) {
  std::string text =
      fmt::format("min {:.4g}  max {:.4g}  mean {:.4g}  std {:.4g}", s["min"].get<double>(),
                  s["max"].get<double>(), s["mean"].get<double>(), s["deviation"].get<double>());
  const auto nan = s["nan"].get<std::int64_t>(), infinite = s["infinite"].get<std::int64_t>();
  if (nan + infinite > 0) text += fmt::format("  {} NaN, {} infinite", nan, infinite);
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
  const Network planned = plan_frozen_network(inference);
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
                     {"activation_bytes", forward.peak_bytes},
                     {"packed_bytes", forward.packed_bytes}};
  if (planned.classifier) {
    const PassPlan gradient = plan_gradient(planned, 1);
    json["gradient"] = {{"gflop", gradient.cost.flops * 1e-9},
                        {"operations", gradient.operations},
                        {"activation_bytes", gradient.peak_bytes},
                        {"packed_bytes", gradient.packed_bytes}};
  }
  const char* pass = planned.classifier ? "gradient" : "forward";
  json["sampling_bytes"] = planned.parameters().bytes() +
                           json[pass]["packed_bytes"].get<std::size_t>() +
                           json[pass]["activation_bytes"].get<std::size_t>();
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
  const char* pass = json.contains("gradient") ? "gradient" : "forward";
  const auto packed = json[pass]["packed_bytes"].get<double>();
  fmt::print("memory for sampling, N=1: {} (f32 weights{}, activations {})\n",
             size_text(json["sampling_bytes"].get<double>()),
             packed > 0 ? ", their forms in the kernels' order " + size_text(packed)
                        : ", read where the file has them",
             size_text(json[pass]["activation_bytes"].get<double>()));
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
             size_text(totals["bytes"].get<double>()));
  if (const auto n = totals["tensors_sharing_a_storage"].get<std::int64_t>())
    fmt::print("{} tensors are views into shared storages\n", n);
  for (const auto& [key, value] : json["extras"].items())
    fmt::print("beside the weights: {} = {}\n", printable(key), printable(value, true));
  for (const auto& [key, value] : json["metadata"].items())
    fmt::print("metadata {}: {}\n", printable(key), printable(value, true));
  fmt::print("largest magnitude {:.4g} in {}\n", totals["largest_magnitude"].get<double>(),
             printable(totals["largest_magnitude_in"]));
  if (!totals["first_damaged"].get<std::string>().empty())
    fmt::print("warning: {} NaN and {} infinite values, first in {}\n",
               totals["nan"].get<std::int64_t>(), totals["infinite"].get<std::int64_t>(),
               printable(totals["first_damaged"]));
  if (all)
    for (const Json& t : json["tensors"]) {
      fmt::print("  {:<48} {:<5} {:<20} storage {} + {}  {}\n", printable(t["name"]),
                 t["dtype"].get<std::string>(), t["shape"].dump(), t["storage"].get<int>(),
                 t["offset"].get<std::int64_t>(), text_of(t["statistics"]));
    }
  if (json.contains("network"))
    print_network(json["network"]);
  else
    fmt::print("\nno network of guided-diffusion: {}\n", printable(json["network_error"], true));
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

// In blocks: a file of samples is larger than memory.
Statistics array_statistics(const NpzReader& file, const ArrayInfo& array) {
  constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 26;
  if (array.shape.empty() || array.bytes <= kBlockBytes) return statistics(file.read(array.name));
  const std::uint64_t row = array.bytes / static_cast<std::uint64_t>(array.shape[0]);
  const auto rows = static_cast<std::int64_t>(std::max<std::uint64_t>(kBlockBytes / row, 1));
  Statistics total;
  file.stream(array.name, rows,
              [&](std::int64_t, const Tensor& block) { total += statistics(block); });
  return total;
}

Json report_arrays(const std::string& path) {
  const NpzReader file = NpzReader::open(path);
  Json json;
  json["container"] = "numpy arrays";
  json["arrays"] = Json::array();
  for (const ArrayInfo& array : file.arrays())
    json["arrays"].push_back({{"name", array.name},
                              {"dtype", name(array.dtype)},
                              {"shape", array.shape},
                              {"compressed", array.compressed},
                              {"statistics", to_json(array_statistics(file, array))}});
  json["unreadable"] = file.unreadable();
  return json;
}

void print_arrays(const Json& json) {
  for (const Json& array : json["arrays"])
    fmt::print("{:<28} {:<5} {:<22} {}\n", printable(array["name"]),
               array["dtype"].get<std::string>(), array["shape"].dump(),
               text_of(array["statistics"]));
  for (const auto& [array, why] : json["unreadable"].items())
    fmt::print("{:<28} cannot be read: {}\n", printable(array), printable(why));
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
    fmt::print("{}: {}\n", printable(key), printable(value, true));
}

bool is_picture(const std::string& head) {
  return head.starts_with("\x89PNG") || head.starts_with("\xFF\xD8\xFF") ||
         head.starts_with("GIF8");
}

// By what it holds: an .npz is a zip archive, as PyTorch's files are.
bool is_arrays(const std::string& path, const std::string& head) {
  if (head.starts_with("\x93NUMPY")) return true;
  if (!head.starts_with("PK")) return false;
  const auto file = MappedFile::open(path);
  bool arrays = false;
  for (const ZipMember& member : read_zip_directory(file->bytes(), path)) {
    if (member.name.ends_with("data.pkl")) return false;
    arrays = arrays || member.name.ends_with(".npy");
  }
  return arrays;
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
      json = report_checkpoint(network_weights(checkpoint), flags);
      json["container"] = name(checkpoint.format());  // of the file, not of a part of it
    }
  }
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  json["file"] = path;
  json["file_bytes"] = error ? 0 : size;
  if (flags.get<bool>("json")) {
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
    return 0;
  }
  fmt::print("{} ({})\n", path, size_text(static_cast<double>(size)));
  if (print)
    print(json);
  else
    print_checkpoint(json, flags.get<bool>("tensors"));
  return 0;
}

}  // namespace tiller
