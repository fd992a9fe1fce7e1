#include "tools/training/openai_files.h"

#include <cctype>
#include <charconv>
#include <cstring>
#include <filesystem>

namespace tiller {

namespace {

bool is_vector(const Parameter& p) { return p.file_shape.size() <= 1; }

std::int64_t numel_of(const Parameter& p) { return p.value.numel(); }

Tensor in_file_layout(const Tensor& value, const Parameter& p) {
  return to_file_layout(value.to(kCpu).contiguous(), p.file_shape, p.layout);
}

// A moment read from a file as a tensor of its own beside the parameter.
Tensor in_our_layout(const Tensor& value, const Parameter& p) {
  const Tensor ours = from_file_layout(value, p.value.shape(), p.layout);
  const Tensor moment = Tensor::empty_like(p.value);
  moment.copy_from(ours);
  return moment;
}

// guided-diffusion's flat buffers: the vectors, or the matrices, behind each other.
Tensor flatten(const std::vector<Tensor>& moments, const ParameterList& parameters, bool vectors) {
  std::int64_t n = 0;
  for (const Parameter& p : parameters.all())
    if (is_vector(p) == vectors) n += numel_of(p);
  const Tensor flat = Tensor::empty(vectors ? Shape{n} : Shape{1, n});
  float* to = flat.data<float>();
  for (std::size_t i = 0; i < moments.size(); ++i) {
    const Parameter& p = parameters.all()[i];
    if (is_vector(p) != vectors) continue;
    const Tensor part = in_file_layout(moments[i], p);
    std::memcpy(to, part.data<float>(), part.bytes());
    to += part.numel();
  }
  return flat;
}

// The piece of a flat moment that is parameter p's, from element `at`.
Tensor unflatten(const Tensor& flat, std::int64_t at, const Parameter& p) {
  const Tensor all = flat.reshape({flat.numel()});
  return in_our_layout(all.slice(at, at + numel_of(p)).reshape(Shape(p.file_shape)), p);
}

AdamW::State from_flat(const OptimizerFile& file, const ParameterList& parameters,
                       const std::string& path) {
  // One buffer of everything (improved-diffusion), or vectors and matrices apart.
  const bool apart = file.state.size() == 2;
  std::vector<const OptimizerFile::State*> buffers;
  for (const auto& [index, state] : file.state) buffers.push_back(&state);
  std::vector<std::int64_t> at(buffers.size(), 0);
  const auto buffer_of = [&](const Parameter& p) {
    return static_cast<std::size_t>(apart && !is_vector(p) ? 1 : 0);
  };
  std::vector<std::int64_t> wanted(buffers.size(), 0);
  for (const Parameter& p : parameters.all()) wanted[buffer_of(p)] += numel_of(p);
  for (std::size_t i = 0; i < buffers.size(); ++i)
    TILLER_CHECK_FILE(
        buffers[i]->exp_avg.numel() == wanted[i],
        "{}: group {} holds moments of {} elements, the network has {}: it is another "
        "network's optimizer",
        path, i, buffers[i]->exp_avg.numel(), wanted[i]);
  AdamW::State state;
  state.steps = static_cast<std::int64_t>(buffers[0]->step);
  for (const Parameter& p : parameters.all()) {
    const std::size_t b = buffer_of(p);
    state.m.push_back(unflatten(buffers[b]->exp_avg, at[b], p));
    state.v.push_back(unflatten(buffers[b]->exp_avg_sq, at[b], p));
    at[b] += numel_of(p);
  }
  return state;
}

// One or two buffers, unless these are one or two parameters' own.
bool is_flat(const OptimizerFile& file, const ParameterList& parameters) {
  if (file.state.size() > 2) return false;
  if (file.state.size() != parameters.all().size()) return true;
  std::size_t i = 0;
  for (const auto& [index, entry] : file.state)
    if (entry.exp_avg.shape() != Shape(parameters.all()[i++].file_shape)) return true;
  return false;
}

std::string beside(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path();
  return folder.empty() ? "." : folder;
}

}  // namespace

std::string rate_in_name(double rate) {
  const std::string text = fmt::format("{}", rate);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string model_file(const std::string& folder, std::int64_t step) {
  return fmt::format("{}/model{:06}.pt", folder, step);
}

std::string ema_file(const std::string& folder, double rate, std::int64_t step) {
  return fmt::format("{}/ema_{}_{:06}.pt", folder, rate_in_name(rate), step);
}

std::string optimizer_file(const std::string& folder, std::int64_t step) {
  return fmt::format("{}/opt{:06}.pt", folder, step);
}

std::optional<std::int64_t> step_in_name(const std::string& path) {
  const std::string file = std::filesystem::path(path).filename();
  const std::size_t word = file.rfind("model");
  if (word == std::string::npos) return std::nullopt;
  const char* begin = file.data() + word + 5;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(begin, file.data() + file.size(), step);
  if (error != std::errc() || end == begin || *begin == '-') return std::nullopt;
  return step;
}

OptimizerFile to_optimizer_file(const AdamW& optimizer, const ParameterList& parameters,
                                double weight_decay, double rate, bool flat) {
  const AdamW::State& state = optimizer.state();
  OptimizerFile file;
  const auto steps = static_cast<double>(state.steps);
  if (flat) {
    for (const bool vectors : {true, false})
      file.state[vectors ? 0 : 1] = {steps, flatten(state.m, parameters, vectors),
                                     flatten(state.v, parameters, vectors)};
  } else {
    for (std::size_t i = 0; i < parameters.all().size(); ++i) {
      const Parameter& p = parameters.all()[i];
      file.state[static_cast<std::int64_t>(i)] = {steps, in_file_layout(state.m[i], p),
                                                  in_file_layout(state.v[i], p)};
    }
  }
  OptimizerFile::Group group;
  group.options = {{"lr", rate},
                   {"beta1", 0.9},
                   {"beta2", 0.999},
                   {"eps", 1e-8},
                   {"weight_decay", weight_decay}};
  for (const auto& [index, entry] : file.state) group.params.push_back(index);
  file.groups.push_back(group);
  return file;
}

AdamW::State from_optimizer_file(const OptimizerFile& file, const ParameterList& parameters,
                                 const std::string& path) {
  const std::size_t n = parameters.all().size();
  TILLER_CHECK_FILE(!file.state.empty(), "{} holds no moments: it was saved before the first step",
                    path);
  if (is_flat(file, parameters)) return from_flat(file, parameters, path);
  TILLER_CHECK_FILE(
      file.state.size() == n,
      "{} holds moments of {} parameters, the network has {}: it is another network's "
      "optimizer",
      path, file.state.size(), n);
  AdamW::State state;
  state.steps = static_cast<std::int64_t>(file.state.begin()->second.step);
  std::size_t i = 0;
  for (const auto& [index, entry] : file.state) {
    const Parameter& p = parameters.all()[i++];
    TILLER_CHECK_FILE(entry.exp_avg.shape() == Shape(p.file_shape),
                      "{}: the moments of parameter {} have shape {}, {} has {}", path, index,
                      to_string(entry.exp_avg.shape()), p.key, to_string(p.file_shape));
    TILLER_CHECK_FILE(static_cast<std::int64_t>(entry.step) == state.steps,
                      "{}: parameter {} was updated {} times, parameter 0 {} times", path, index,
                      entry.step, state.steps);
    state.m.push_back(in_our_layout(entry.exp_avg, p));
    state.v.push_back(in_our_layout(entry.exp_avg_sq, p));
  }
  return state;
}

std::vector<std::string> write_openai_files(const std::string& folder, std::int64_t step,
                                            const Trainer& trainer, bool flat) {
  std::vector<std::string> paths{model_file(folder, step)};
  write_pt(paths.back(), state_dict(trainer.parameters()));
  for (const Trainer::Average& average : trainer.averages()) {
    paths.push_back(ema_file(folder, average.ema.rate(), step));
    write_pt(paths.back(), state_dict(average.ema.parameters()));
  }
  paths.push_back(optimizer_file(folder, step));
  write_optimizer(paths.back(), to_optimizer_file(trainer.optimizer(), trainer.parameters(),
                                                  trainer.options().weight_decay,
                                                  trainer.options().rate.held_after(step), flat));
  return paths;
}

std::vector<std::string> read_openai_files(const std::string& model_path, Trainer& trainer) {
  std::vector<std::string> notes;
  const std::optional<std::int64_t> step = step_in_name(model_path);
  if (!step)
    return {
        fmt::format("{}: no step in its name, so only its weights are taken, as a "
                    "start",
                    model_path)};
  const std::string folder = beside(model_path);
  for (Trainer::Average& average : trainer.averages()) {
    const std::string path = ema_file(folder, average.ema.rate(), *step);
    if (!std::filesystem::exists(path)) {
      notes.push_back(
          fmt::format("there is no {}: the average of rate {:g} starts again as a copy "
                      "of the weights",
                      path, average.ema.rate()));
      continue;
    }
    const Checkpoint file = Checkpoint::open(path);
    for (const Parameter& p : average.ema.parameters().all()) {
      const Tensor value = cast_on_host(file.read(p.key), DType::f32);
      TILLER_CHECK_FILE(value.shape() == Shape(p.file_shape), "{}: {} has shape {}, not {}", path,
                        p.key, to_string(value.shape()), to_string(p.file_shape));
      p.value.copy_from(from_file_layout(value, p.value.shape(), p.layout));
      p.value.bump_version();
    }
    average.updates = *step + 1;
  }
  const std::string path = optimizer_file(folder, *step);
  if (!std::filesystem::exists(path)) {
    notes.push_back(
        fmt::format("there is no {}: the optimizer starts again without moments", path));
    return notes;
  }
  const OptimizerFile file = read_optimizer(path);
  trainer.optimizer().restore(from_optimizer_file(file, trainer.parameters(), path));
  const auto differs = [&](const char* option, const char* flag, double ours) {
    if (file.groups.empty()) return;
    const auto theirs = file.groups[0].options.find(option);
    if (theirs != file.groups[0].options.end() && theirs->second != ours)
      notes.push_back(fmt::format("{} was saved with {} {:g}; --{} says {:g}, which counts", path,
                                  option, theirs->second, flag, ours));
  };
  differs("lr", "lr (at this step)", trainer.options().rate.held_after(*step));
  differs("weight_decay", "weight_decay", trainer.options().weight_decay);
  return notes;
}

}  // namespace tiller
