#include "tools/training/setup.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/env.h"
#include "tools/flags/choices.h"
#include "tools/report/plan.h"
#include "tools/sampling/announce.h"
#include "tools/training/openai_files.h"
#include "tools/training/time_plan.h"

namespace tiller {

namespace {

namespace fs = std::filesystem;

// Flags that belong to one start of the program and not to the training.
constexpr std::string_view kOfTheStart[] = {"resume", "resume_checkpoint", "out",   "dry_run",
                                            "device", "threads",           "kernel"};

constexpr const char* kClassesOfTheData = "tiller.training.classes";

std::map<std::string, std::string> training_flags(const Flags& flags) {
  const std::vector<std::string_view>& names = flags.command().flags;
  std::map<std::string, std::string> given = flags.given_texts(names);
  for (const std::string_view name : kOfTheStart) given.erase(std::string(name));
  return given;
}

Flags with_saved(const Flags& flags, const std::map<std::string, std::string>& saved) {
  std::vector<std::string> line;
  const std::map<std::string, std::string> given = flags.given_texts(flags.command().flags);
  for (const auto& [name, value] : saved) {
    if (!flags.accepts(name)) continue;
    const auto typed = given.find(name);
    if (typed != given.end() && typed->second != value)
      announce("resume",
               fmt::format("--{} {} as given; the run had {}", name, typed->second, value));
    line.push_back(fmt::format("--{}={}", name, value));
  }
  for (const auto& [name, value] : given) line.push_back(fmt::format("--{}={}", name, value));
  return Flags::parse(flags.command(), line);
}

std::string folder_of(const Flags& flags) {
  if (flags.given("out")) return flags.get<std::string>("out");
  const std::string theirs = environment("OPENAI_LOGDIR");
  return theirs.empty() ? fmt::format("out/{}", flags.command().name) : theirs;
}

std::shared_ptr<const Dataset> open_folder(const Flags& flags, const char* flag,
                                           const DatasetOptions& options) {
  const std::string path = flags.get<std::string>(flag);
  std::shared_ptr<const Dataset> dataset = open_dataset(path, options);
  announce(std::string(flag) == "data_dir" ? "data" : "validation", dataset->description());
  return dataset;
}

// The classes of the data that a state was trained on; the one that stands for none is not theirs.
std::vector<std::string> saved_class_names(const Checkpoint& file) {
  std::vector<std::string> names;
  const auto stored = file.metadata().find(kClassesOfTheData);
  if (stored == file.metadata().end()) return names;
  const auto json = nlohmann::json::parse(stored->second, nullptr, false);
  for (const auto& entry : json)
    if (entry.is_string()) names.push_back(entry.get<std::string>());
  return names;
}

std::string in_gibibytes(double bytes) { return fmt::format("{:.3g} GiB", bytes / (1 << 30)); }

}  // namespace

Start find_start(const Flags& flags) {
  Start start{.flags = flags, .folder = folder_of(flags)};
  const std::string resume = flags.get<std::string>("resume");
  start.weights = flags.get<std::string>("resume_checkpoint");
  if (!resume.empty() && !start.weights.empty())
    fail(ErrorKind::usage,
         "--resume goes on with a run of tiller, --resume_checkpoint with model files of "
         "guided-diffusion: give one of them");
  if (resume == "auto") {
    std::vector<std::string> notes;
    start.state = newest_state(start.folder, notes);
    for (const std::string& note : notes) warn(note);
    if (start.state.empty())
      announce("resume", fmt::format("{} holds no checkpoint yet: a new run", start.folder));
  } else {
    start.state = resume;
  }
  if (!start.weights.empty()) {
    const Checkpoint file = Checkpoint::open(start.weights);
    if (file.metadata().contains("tiller.training")) std::swap(start.state, start.weights);
  }
  if (start.state.empty() && resume != "auto" && !saved_steps(start.folder).empty())
    fail(
        ErrorKind::usage,
        fmt::format("{} holds a run already: go on with it by --resume auto, or give another --out",
                    start.folder));
  if (!start.state.empty()) {
    const Checkpoint file = Checkpoint::open(start.state);
    start.position = read_position(file);
    start.class_names = saved_class_names(file);
    start.first_step = start.position.step + 1;
    start.flags = with_saved(flags, start.position.flags);
  } else if (!start.weights.empty()) {
    // The step in the name was taken: the next one follows it.
    const std::optional<std::int64_t> step = step_in_name(start.weights);
    start.first_step = step ? *step + 1 : 0;
  }
  if (flags.get<bool>("dry_run")) return start;
  std::error_code error;
  fs::create_directories(start.folder, error);
  TILLER_CHECK(!error, "cannot make the folder {}: {}", start.folder, error.message());
  return start;
}

DiffusionConfig process_from_flags(const Flags& flags, bool learn_sigma) {
  return diffusion_config(
      flags.get<std::int64_t>("diffusion_steps"), flags.get<std::string>("noise_schedule"),
      flags.get<std::string>("timestep_respacing"), learn_sigma, flags.get<bool>("sigma_small"),
      flags.get<bool>("use_kl"), flags.get<bool>("predict_xstart"),
      flags.get<bool>("rescale_timesteps"), flags.get<bool>("rescale_learned_sigmas"));
}

DiffusionHints process_as_hints(const Flags& flags) {
  DiffusionHints hints;
  for (const char* flag :
       {"diffusion_steps", "noise_schedule", "learn_sigma", "sigma_small", "predict_xstart",
        "rescale_timesteps", "use_kl", "rescale_learned_sigmas"})
    hints[flag] = flags.text(flag);
  return hints;
}

TrainingData open_data(const Start& start, bool classes, std::int64_t image_size) {
  const Flags& flags = start.flags;
  if (flags.get<std::string>("data_dir").empty())
    fail(ErrorKind::usage,
         fmt::format("{} needs --data_dir PATH: the pictures to learn from", flags.command().name));
  TrainingData data;
  const LabelSource source =
      classes ? label_source(flags.get<std::string>("labels")) : LabelSource::none;
  DatasetOptions options{.labels = source};
  if (flags.given("in_channels")) options.channels = flags.get<std::int64_t>("in_channels");
  if (classes) options.class_names = start.class_names;
  const auto pictures = open_folder(flags, "data_dir", options);
  data.channels = pictures->channels();
  if (classes) {
    data.class_names = pictures->class_names();
    const auto count = static_cast<std::int64_t>(data.class_names.size());
    if (count == 0)
      fail(ErrorKind::usage,
           fmt::format(
               "{}: nothing tells the classes of these pictures; sort them into a folder per "
               "class, or name them CLASS_ANYTHING.png{}",
               flags.get<std::string>("data_dir"),
               flags.accepts("class_cond") ? ", or train without --class_cond" : ""));
    data.num_classes = flags.given("num_classes") ? flags.get<std::int64_t>("num_classes") : count;
    if (data.num_classes < count)
      fail(ErrorKind::usage,
           fmt::format("--num_classes {}: the pictures have {} classes", data.num_classes, count));
  }
  LoaderOptions loading{.batch_size = flags.get<std::int64_t>("batch_size"),
                        .image_size = image_size,
                        .random_crop = flags.get<bool>("random_crop"),
                        .random_flip = flags.get<bool>("random_flip"),
                        .seed = flags.get<std::uint64_t>("seed")};
  data.training = std::make_unique<Loader>(pictures, loading);
  if (flags.accepts("val_data_dir") && !flags.get<std::string>("val_data_dir").empty()) {
    options.class_names = data.class_names;
    options.channels = data.channels == 1 || data.channels == 3 ? data.channels : 0;
    const auto held_out = open_folder(flags, "val_data_dir", options);
    loading.random_crop = false;
    data.validation = std::make_unique<Loader>(held_out, loading);
  }
  return data;
}

TrainerOptions trainer_options(const Flags& flags, AnnealOrder order, DType torso,
                               double lg_start) {
  TrainerOptions options;
  options.rate = {.base = flags.get<double>("lr"),
                  .anneal_steps = 0,
                  .order = order,
                  .warmup_steps = flags.get<std::int64_t>("warmup_steps")};
  options.weight_decay = flags.get<double>("weight_decay");
  if (flags.accepts("ema_rate")) {
    options.ema_rates = flags.list<double>("ema_rate");
    options.ema_warmup = flags.get<bool>("ema_warmup");
  }
  options.grad_clip = flags.get<double>("grad_clip");
  options.loss_scale = {.enabled = torso == DType::f16, .lg_start = lg_start};
  if (flags.accepts("fp16_scale_growth"))
    options.loss_scale.growth = flags.get<double>("fp16_scale_growth");
  options.microbatch = flags.get<std::int64_t>("microbatch");
  options.sum_microbatches = flags.get<bool>("sum_microbatches");
  return options;
}

DType torso_of(const Flags& flags, bool use_fp16) {
  const bool bf16 = flags.get<bool>("use_bf16");
  if (bf16 && use_fp16)
    fail(ErrorKind::usage, "--use_bf16 and half precision (fp16) exclude each other");
  return bf16 ? DType::bf16 : use_fp16 ? DType::f16 : DType::f32;
}

std::map<std::string, std::string> network_metadata(const Inference& inference,
                                                    const std::vector<std::string>& class_names) {
  std::map<std::string, std::string> metadata = config_metadata(inference);
  if (!class_names.empty()) metadata["tiller.classes"] = nlohmann::json(class_names).dump();
  return metadata;
}

void remove_torn_files(const std::string& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename();
    const std::size_t mark = name.rfind(".tmp-");
    if (mark == std::string::npos) continue;
    long process = 0;
    const char* begin = name.data() + mark + 5;
    const auto [end, error] = std::from_chars(begin, name.data() + name.size(), process);
    if (error != std::errc() || process <= 0 || *end != '-') continue;
    if (kill(static_cast<pid_t>(process), 0) == 0 || errno != ESRCH) continue;  // it writes on
    fs::remove(entry.path(), ignored);
  }
}

void settle_run(const Start& start, const TrainingData& data, TrainingRun& run,
                std::unique_ptr<RunLog>& files) {
  const Flags& flags = start.flags;
  remove_torn_files(start.folder);
  run.folder = start.folder;
  run.data = data.training.get();
  run.validation = data.validation.get();
  run.batch_size = run.data->options().batch_size;
  run.first_step = start.first_step;
  run.log_interval = flags.get<std::int64_t>("log_interval");
  run.save_interval = flags.get<std::int64_t>("save_interval");
  run.keep = flags.get<std::int64_t>("keep");
  run.openai_files = flags.get<bool>("openai_files");
  run.overfit_one_batch = flags.get<bool>("overfit_one_batch");
  run.flags = training_flags(flags);
  if (!data.class_names.empty())
    run.metadata[kClassesOfTheData] = nlohmann::json(data.class_names).dump();
  run.draw.seed = flags.get<std::uint64_t>("seed");
  if (!start.state.empty()) {
    run.data->seek(start.position.data);
    if (run.validation) run.validation->seek(start.position.validation);
  } else if (!run.overfit_one_batch) {
    run.data->seek(start.first_step * run.batch_size);
  }
  const LogFormats formats = parse_log_formats(environment("OPENAI_LOG_FORMAT"));
  for (const std::string& name : formats.unknown)
    warn(fmt::format("OPENAI_LOG_FORMAT: {} is not written here; stdout, log, csv and json are",
                     name));
  const bool goes_on = !start.state.empty() || !start.weights.empty();
  files = std::make_unique<RunLog>(start.folder, formats, goes_on ? start.first_step : -1);
  files->note(fmt::format("Logging to {}", start.folder));
  run.files = files.get();
  announce("out", start.folder);
}

void restore(const Start& start, TrainingRun& run) {
  std::vector<std::string> notes;
  if (!start.state.empty()) {
    notes = read_state(Checkpoint::open(start.state), *run.trainer, *run.sampler, run.log);
    announce("resume", fmt::format("{}: step {} is next", start.state, start.first_step));
  } else if (!start.weights.empty()) {
    notes = read_openai_files(start.weights, *run.trainer);
    announce("resume", fmt::format("{}: step {} is next", start.weights, start.first_step));
  }
  for (const std::string& note : notes) warn(note);
  if (run.total > 0 && run.first_step >= run.total)
    announce("resume", fmt::format("all {} steps are done already", run.total));
}

double announce_plan(const Inference& inference, const TrainerOptions& options, std::int64_t batch,
                     std::int64_t steps, Device device) {
  const Network planned = plan_network(inference);
  const std::int64_t microbatch =
      options.microbatch > 0 ? std::min(options.microbatch, batch) : batch;
  const PassPlan pass = plan_training(planned, microbatch);
  const auto weights = static_cast<double>(planned.parameters().bytes());
  // Beside the weights: two moments, the averages, and the rows' own forms of the weights. The
  // gradients are part of the pass.
  const double kept = weights * (3 + static_cast<double>(options.ema_rates.size())) +
                      static_cast<double>(pass.packed_bytes);
  const double total = kept + static_cast<double>(pass.peak_bytes);
  const std::int64_t passes = (batch + microbatch - 1) / microbatch;
  announce(
      "plan",
      fmt::format("{:.4g} M parameters; {} for weights, moments and averages, {} for a pass of "
                  "{} pictures; {:.3g} GFLOP per step",
                  weights / 4e6, in_gibibytes(kept),
                  in_gibibytes(static_cast<double>(pass.peak_bytes)), microbatch,
                  static_cast<double>(passes) * static_cast<double>(pass.cost.flops) / 1e9));
  if (device.type == DeviceType::cpu && total > static_cast<double>(machine_memory()))
    warn(fmt::format("that is more than this machine's {}: a smaller --microbatch needs less{}",
                     in_gibibytes(static_cast<double>(machine_memory())),
                     inference.unet.use_checkpoint || inference.classifier.use_checkpoint
                         ? ""
                         : ", and so does --use_checkpoint True"));
  if (device.type == DeviceType::simt) return 0;  // it checks kernels, its time means nothing
  const DType torso =
      inference.kind == NetworkKind::classifier ? inference.classifier.torso : inference.unet.torso;
  const Speed speed = measure_speed(device, torso, microbatch);
  const double seconds =
      seconds_of_step(pass, passes, planned.parameters().numel(),
                      static_cast<std::int64_t>(options.ema_rates.size()), speed);
  announce("time", time_in_words(seconds, speed, steps));
  return seconds;
}

}  // namespace tiller
