#include "tools/fold_class.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "nn/infer.h"
#include "tools/flags/architecture.h"

namespace tiller {

namespace {

constexpr const char* kClasses = "tiller.classes";
constexpr const char* kTable = "label_emb.weight";  // [classes, D]
constexpr const char* kBias = "time_embed.2.bias";  // [D]

std::int64_t class_number(const Checkpoint& checkpoint, const std::string& wanted,
                          std::int64_t count) {
  std::string known = fmt::format("numbers 0 to {}", count - 1);
  if (const auto stored = checkpoint.metadata().find(kClasses);
      stored != checkpoint.metadata().end()) {
    const auto names = nlohmann::json::parse(stored->second, nullptr, false);
    for (std::size_t i = 0; names.is_array() && i < names.size(); ++i) {
      if (names[i] == wanted) return static_cast<std::int64_t>(i);
      known += fmt::format(", {}", names[i].dump());
    }
  }
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  if (error == std::errc() && end == wanted.data() + wanted.size() && number >= 0 && number < count)
    return number;
  fail(ErrorKind::usage,
       fmt::format("--fold_class {}: no such class; there are {}", wanted, known));
}

}  // namespace

Checkpoint fold_class(const Checkpoint& checkpoint, const std::string& wanted, const Flags& flags) {
  Inference inference = infer(checkpoint, given_network_flags(flags));
  if (checkpoint.find(kTable) == nullptr || checkpoint.find(kBias) == nullptr)
    fail(ErrorKind::checkpoint,
         fmt::format("{} has no {}: a network without classes has none to fold", checkpoint.path(),
                     kTable));
  const Tensor table = cast_on_host(checkpoint.read(kTable), DType::f32);
  const std::int64_t number = class_number(checkpoint, wanted, table.dim(0));
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const FileTensor& entry : checkpoint.tensors()) {
    if (entry.name == kTable) continue;
    Tensor value = checkpoint.read(entry);
    if (entry.name == kBias) {
      const DType dtype = value.dtype();
      const Tensor sum = cast_on_host(value, DType::f32).clone();
      const auto* row = table.data<float>() + number * table.dim(1);
      for (std::int64_t i = 0; i < sum.numel(); ++i) sum.data<float>()[i] += row[i];
      value = cast_on_host(sum, dtype);
    }
    tensors.emplace_back(entry.name, value);
  }
  std::map<std::string, std::string> metadata = checkpoint.metadata();
  for (const char* key : {kClasses, "tiller.training.classes"}) metadata.erase(key);
  inference.unet.num_classes = 0;
  for (const auto& [key, value] : config_metadata(inference)) metadata[key] = value;
  return Checkpoint::from_tensors(std::move(tensors), std::move(metadata));
}

}  // namespace tiller
