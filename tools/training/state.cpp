#include "tools/training/state.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/training/openai_files.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kMetadata = "tiller.training";
constexpr const char* kHistory = "sampler/losses";  // f64 [T*history]
constexpr const char* kCounts = "sampler/counts";   // i64 [T]

std::string average_prefix(double rate) { return "ema_" + rate_in_name(rate) + "/"; }

// JSON has no NaN, and a mean may be one.
std::string exact(double value) { return fmt::format("{}", value); }
double inexact(const Json& text) { return std::strtod(text.get<std::string>().c_str(), nullptr); }

void add(std::vector<NamedTensor>& tensors, const std::string& prefix, const Parameter& p,
         const Tensor& value) {
  tensors.push_back({prefix + p.key, to_file_layout(value, p.file_shape, p.layout)});
}

// A parameter's tensor in the file, into bytes that exist.
void read_into(const Checkpoint& file, const std::string& prefix, const Parameter& p,
               const Tensor& to) {
  const Tensor value = file.read(prefix + p.key);
  TILLER_CHECK_FILE(value.dtype() == to.dtype() && value.shape() == Shape(p.file_shape),
                    "{}: {}{} is {}, the network's has shape {}", file.path(), prefix, p.key,
                    to_string(value), to_string(p.file_shape));
  to.copy_from(from_file_layout(value, to.shape(), p.layout));
  to.bump_version();
}

Json parse(const Checkpoint& file) {
  const auto text = file.metadata().find(kMetadata);
  TILLER_CHECK_FILE(text != file.metadata().end(),
                    "{} is no state of a training (checkpointNNNNNN.safetensors); a network's "
                    "weights go to --resume_checkpoint",
                    file.path());
  Json json = Json::parse(text->second, nullptr, false);
  TILLER_CHECK_FILE(json.is_object(), "{}: the state's metadata ({}) is damaged", file.path(),
                    kMetadata);
  return json;
}

// A missing or mistyped entry is the file's mistake, not the program's.
template <class Read>
auto guarded(const Checkpoint& file, const Read& read) {
  try {
    return read(parse(file));
  } catch (const Json::exception& error) {
    fail(ErrorKind::checkpoint, fmt::format("{}: the state's metadata ({}) is damaged: {}",
                                            file.path(), kMetadata, error.what()));
  }
}

std::optional<std::int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename();
  constexpr std::string_view kBegin = "checkpoint", kEnd = ".safetensors";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) return std::nullopt;
  const char* begin = name.data() + kBegin.size();
  const char* end = name.data() + name.size() - kEnd.size();
  std::int64_t step = 0;
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || stop != end || step < 0) return std::nullopt;
  return step;
}

}  // namespace

std::string state_file(const std::string& folder, std::int64_t step) {
  return fmt::format("{}/checkpoint{:06}.safetensors", folder, step);
}

void write_state(const std::string& path, const RunPosition& position, const Trainer& trainer,
                 const ScheduleSampler& sampler, const LogMeans& log,
                 std::map<std::string, std::string> metadata) {
  std::vector<NamedTensor> tensors;
  const std::vector<Parameter>& parameters = trainer.parameters().all();
  const AdamW::State& moments = trainer.optimizer().state();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    add(tensors, "model/", parameters[i], parameters[i].value);
    add(tensors, "exp_avg/", parameters[i], moments.m[i]);
    add(tensors, "exp_avg_sq/", parameters[i], moments.v[i]);
  }
  Json json = {{"step", position.step},
               {"data_position", position.data},
               {"validation_position", position.validation},
               {"flags", position.flags},
               {"optimizer_steps", moments.steps},
               {"lg_loss_scale", exact(trainer.loss_scale().state().lg)},
               {"overflows", trainer.loss_scale().state().overflows},
               {"averages", Json::array()},
               {"log", Json::object()}};
  for (const Trainer::Average& average : trainer.averages()) {
    const std::string prefix = average_prefix(average.ema.rate());
    for (const Parameter& p : average.ema.parameters().all()) add(tensors, prefix, p, p.value);
    json["averages"].push_back({{"prefix", prefix}, {"updates", average.updates}});
  }
  for (const auto& [key, entry] : log.entries())
    json["log"][key] = {{"sum", exact(entry.sum)}, {"count", entry.count}};
  if (const auto* aware = dynamic_cast<const LossSecondMomentSampler*>(&sampler)) {
    const auto n = static_cast<std::int64_t>(aware->state().losses.size());
    tensors.push_back({kHistory, Tensor::from(aware->state().losses, {n})});
    const auto t = static_cast<std::int64_t>(aware->state().counts.size());
    tensors.push_back({kCounts, Tensor::from(aware->state().counts, {t})});
  }
  metadata[kMetadata] = json.dump();
  write_safetensors(path, tensors, metadata);
}

RunPosition read_position(const Checkpoint& file) {
  return guarded(file, [](const Json& json) {
    RunPosition position;
    position.step = json.at("step").get<std::int64_t>();
    position.data = json.at("data_position").get<std::int64_t>();
    position.validation = json.at("validation_position").get<std::int64_t>();
    position.flags = json.at("flags").get<std::map<std::string, std::string>>();
    return position;
  });
}

std::vector<std::string> read_state(const Checkpoint& file, Trainer& trainer,
                                    ScheduleSampler& sampler, LogMeans& log) {
  std::vector<std::string> notes;
  const std::vector<Parameter>& parameters = trainer.parameters().all();
  guarded(file, [&](const Json& json) {
    AdamW::State moments = trainer.optimizer().state();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      read_into(file, "model/", parameters[i], parameters[i].value);
      read_into(file, "exp_avg/", parameters[i], moments.m[i]);
      read_into(file, "exp_avg_sq/", parameters[i], moments.v[i]);
    }
    moments.steps = json.at("optimizer_steps").get<std::int64_t>();
    trainer.optimizer().restore(std::move(moments));
    trainer.loss_scale().restore(
        {inexact(json.at("lg_loss_scale")), json.at("overflows").get<std::int64_t>()});
    std::map<std::string, std::int64_t> saved;
    for (const Json& average : json.at("averages"))
      saved[average.at("prefix").get<std::string>()] = average.at("updates").get<std::int64_t>();
    for (Trainer::Average& average : trainer.averages()) {
      const std::string prefix = average_prefix(average.ema.rate());
      const auto found = saved.find(prefix);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        const Parameter& p = average.ema.parameters().all()[i];
        if (found != saved.end()) {
          read_into(file, prefix, p, p.value);
        } else {
          p.value.copy_from(parameters[i].value);
          p.value.bump_version();
        }
      }
      average.updates = found != saved.end() ? found->second : 0;
      if (found == saved.end())
        notes.push_back(
            fmt::format("{} has no average of rate {:g}: it starts as a copy of the "
                        "weights",
                        file.path(), average.ema.rate()));
    }
    std::map<std::string, LogMeans::Entry> means;
    for (const auto& [key, entry] : json.at("log").items())
      means[key] = {inexact(entry.at("sum")), entry.at("count").get<std::int64_t>()};
    log.restore(std::move(means));
    return 0;
  });
  if (auto* aware = dynamic_cast<LossSecondMomentSampler*>(&sampler)) {
    if (file.find(kHistory) && file.find(kCounts))
      aware->restore(
          {file.read(kHistory).to_vector<double>(), file.read(kCounts).to_vector<std::int64_t>()});
    else
      notes.push_back(
          fmt::format("{} has no history of losses: timesteps are drawn uniformly until "
                      "there is one",
                      file.path()));
  }
  return notes;
}

std::vector<std::int64_t> saved_steps(const std::string& folder) {
  std::vector<std::int64_t> steps;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (const auto step = step_of(entry.path())) steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string newest_state(const std::string& folder, std::vector<std::string>& notes) {
  std::vector<std::int64_t> steps = saved_steps(folder);
  for (; !steps.empty(); steps.pop_back()) {
    const std::string path = state_file(folder, steps.back());
    try {
      read_position(Checkpoint::open(path));
      return path;
    } catch (const Error& error) {
      notes.push_back(fmt::format("{}; the one before it is taken", error.what()));
    }
  }
  return {};
}

Checkpoint network_weights(const Checkpoint& file, bool averaged) {
  if (!file.metadata().contains(kMetadata)) return file;
  const std::string prefix = guarded(file, [&](const Json& json) -> std::string {
    if (!averaged || json.at("averages").empty()) return "model/";
    return json.at("averages").at(0).at("prefix").get<std::string>();
  });
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const FileTensor& tensor : file.tensors())
    if (tensor.name.starts_with(prefix))
      tensors.emplace_back(tensor.name.substr(prefix.size()), file.read(tensor));
  std::map<std::string, std::string> metadata = file.metadata();
  metadata.erase(kMetadata);
  return Checkpoint::from_tensors(std::move(tensors), std::move(metadata));
}

}  // namespace tiller
