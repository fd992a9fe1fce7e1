// Which flags each command takes. Adding a command is one entry here and one file of its own.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runtime/error.h"
#include "tools/flags/spec.h"

namespace tiller {

namespace {

using Names = std::vector<std::string_view>;

// The names that guided-diffusion's defaults share, in its order, and Tiller's own behind them.
const Names kUNet = {"num_channels",
                     "num_res_blocks",
                     "num_heads",
                     "num_heads_upsample",
                     "num_head_channels",
                     "attention_resolutions",
                     "channel_mult",
                     "dropout",
                     "class_cond",
                     "use_checkpoint",
                     "use_scale_shift_norm",
                     "resblock_updown",
                     "use_fp16",
                     "use_new_attention_order",
                     "num_classes",
                     "in_channels"};
const Names kSuperResolution = {"large_size", "small_size"};
const Names kClassifier = {"classifier_use_fp16",
                           "classifier_width",
                           "classifier_depth",
                           "classifier_attention_resolutions",
                           "classifier_use_scale_shift_norm",
                           "classifier_resblock_updown",
                           "classifier_pool",
                           "classifier_channel_mult",
                           "classifier_num_head_channels"};
const Names kDiffusion = {
    "learn_sigma",    "diffusion_steps",   "noise_schedule",         "timestep_respacing", "use_kl",
    "predict_xstart", "rescale_timesteps", "rescale_learned_sigmas", "sigma_small"};
const Names kSampling = {"clip_denoised", "num_samples", "batch_size", "use_ddim", "eta",
                         "classes",       "first_index", "rng",        "noise",    "save",
                         "preview_every", "seed",        "out",        "no_graph"};
const Names kTraining = {"data_dir",
                         "schedule_sampler",
                         "lr",
                         "weight_decay",
                         "batch_size",
                         "microbatch",
                         "log_interval",
                         "save_interval",
                         "resume_checkpoint",
                         "labels",
                         "random_crop",
                         "random_flip",
                         "use_bf16",
                         "warmup_steps",
                         "grad_clip",
                         "sum_microbatches",
                         "overfit_one_batch",
                         "resume",
                         "keep",
                         "openai_files",
                         "dry_run"};
const Names kRun = {"device", "threads", "kernel"};
const Names kInference = {"weights", "device", "threads", "kernel"};

Names operator+(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Any network: a pasted $MODEL_FLAGS of a diffusion network, an upsampler or a classifier is
// welcome.
Names any_network() {
  return Names{"image_size"} + kUNet + kSuperResolution + kClassifier + kDiffusion;
}

std::vector<CommandSpec> make_specs() {
  return {
      {.name = "sample",  // classifier_sample.py and image_sample.py
       .summary = "Draw pictures from a diffusion network, guided by a classifier or not.",
       .flags = Names{"model_path", "image_size"} + kUNet + Names{"classifier_path"} + kClassifier +
                kDiffusion + kSampling + Names{"classifier_scale"} + kInference,
       // Enough to look at; the scripts' 10000 are for computing an FID.
       .fallbacks = {{"batch_size", "16"}, {"num_samples", "16"}, {"out", "out"}}},
      {.name = "upsample",  // super_res_sample.py
       .summary = "Enlarge pictures with a super-resolution network.",
       .flags = Names{"model_path"} + kSuperResolution + kUNet + kDiffusion + kSampling +
                Names{"base_samples"} + kInference,
       .fallbacks = {{"batch_size", "16"}, {"num_samples", "-1"}, {"out", "out"}}},
      {.name = "train",  // image_train.py and super_res_train.py
       .summary = "Train a diffusion network, or a super-resolution network (--large_size).",
       .flags =
           Names{"image_size"} + kUNet + kSuperResolution + kDiffusion + kTraining +
           Names{"lr_anneal_steps", "iterations", "ema_rate", "ema_warmup", "fp16_scale_growth",
                 "class_drop", "snr_weighting", "grid_samples", "grid_steps", "seed", "out"} +
           kRun,
       .fallbacks = {{"iterations", "0"}}},
      {.name = "train-classifier",  // classifier_train.py
       .summary = "Train a noised classifier.",
       .flags = Names{"image_size", "num_classes", "in_channels", "dropout", "use_checkpoint"} +
                kClassifier + kDiffusion + kTraining +
                Names{"val_data_dir", "noised", "iterations", "anneal_lr", "eval_interval", "seed",
                      "out"} +
                kRun,
       .fallbacks = {{"batch_size", "4"}, {"lr", "3e-4"}, {"random_crop", "True"}}},
      {.name = "nll",  // image_nll.py
       .summary = "Bits per dimension of pictures under a diffusion network.",
       .flags =
           Names{"model_path", "image_size"} + kUNet + kDiffusion +
           Names{"data_dir", "clip_denoised", "num_samples", "batch_size", "noise", "seed", "out"} +
           kInference,
       .fallbacks = {{"num_samples", "1000"}, {"out", "nll.npz"}}},
      {.name = "demo",
       .summary = "Show a classifier steering a network that knows no classes.",
       .flags = Names{"models", "scales", "train", "train_steps", "minutes", "num_samples",
                      "timestep_respacing", "seed", "out"} +
                kInference,
       .fallbacks = {{"num_samples", "30"},
                     {"scales", "0,5,15"},
                     {"timestep_respacing", "75"},
                     {"out", "out/demo"}}},
      {.name = "quality",
       .summary = "Measure samples against real pictures, over the scale of the guidance.",
       .flags = Names{"model_path", "classifier_path", "judge_path", "data_dir", "labels", "scales",
                      "image_size", "num_samples", "clip_denoised", "use_ddim", "eta", "batch_size",
                      "no_graph", "neighbours", "seed", "out", "report"} +
                kUNet + kClassifier + kDiffusion + kInference,
       .fallbacks = {{"num_samples", "2000"},
                     {"scales", "0,0.5,1,2,4,8"},
                     {"timestep_respacing", "ddim25"},
                     {"use_ddim", "True"},
                     {"batch_size", "64"},
                     {"out", "out/quality"}}},
      {.name = "verify",
       .summary = "Compare a network's output with what PyTorch computed.",
       .flags =
           Names{"model_path", "classifier_path", "reference", "activations", "tolerance", "json"} +
           any_network() + kInference},
      {.name = "inspect",
       .summary = "Show what a checkpoint, an npz file or one of our pictures holds.",
       .arguments = {{"FILE", "the file to look into"}},
       .flags = Names{"tensors", "json"} + any_network()},
      {.name = "convert",
       .summary = "Rewrite a checkpoint as .pt or .safetensors, by the name of OUT.",
       .arguments = {{"IN", "the checkpoint to read"}, {"OUT", "the file to write"}},
       .flags = Names{"dtype", "fold_class"} + any_network()},
      {.name = "devices",
       .summary = "List the devices, their memory and features, and the environment variables.",
       .flags = {"rows", "json"}},
      {.name = "gradcheck",
       .summary = "Check every operation's gradient against differences, in double precision.",
       .arguments = {{"OP", "only operations whose name contains this", false}},
       .flags = Names{"network", "seed", "tolerance", "json"} + kRun,
       .fallbacks = {{"tolerance", "1e-6"}}},
      {.name = "profile",
       .summary = "Show where the time of a command, or of one network, goes, kernel by kernel.",
       .arguments = {{"AFTER", "with --compare: the later profile", false}},
       .flags = Names{"published", "model_path", "classifier_path", "batch_size", "repeat", "steps",
                      "by", "depth", "top", "json", "csv", "trace", "out", "compare", "seed"} +
                any_network() + kInference,
       .wraps = true},
      {.name = "plot",
       .summary = "Draw the curves of training runs as SVG or PNG.",
       .arguments = {{.name = "RUN",
                      .help =
                          "a run's folder, or its progress.csv; several are laid over each other",
                      .many = true}},
       .flags = {"keys", "x", "smooth", "log_y", "out"},
       .fallbacks = {{"out", "plot.svg"}}},
      {.name = "graph",
       .summary = "Print the tape of a network's forward pass with the bytes that each node keeps.",
       .flags = Names{"model_path", "classifier_path", "batch_size", "parameters", "dot", "out"} +
                any_network()},
  };
}

}  // namespace

std::span<const CommandSpec> command_specs() {
  static const std::vector<CommandSpec> specs = make_specs();
  return specs;
}

const CommandSpec& command_spec(std::string_view name) {
  Names names;
  for (const CommandSpec& spec : command_specs()) {
    if (spec.name == name) return spec;
    names.push_back(spec.name);
  }
  const std::string_view near = nearest(name, names);
  fail(ErrorKind::usage, fmt::format("unknown command '{}'{}", name,
                                     near.empty() ? "" : fmt::format("; did you mean {}?", near)));
}

std::string_view fallback(const CommandSpec& command, const FlagSpec& flag) {
  for (const auto& [name, value] : command.fallbacks)
    if (name == flag.name) return value;
  return flag.fallback;
}

std::span<const std::string_view> network_flags() {
  static const Names names =
      Names{"image_size", "learn_sigma"} + kUNet + kSuperResolution + kClassifier;
  return names;
}

std::string_view nearest(std::string_view name, std::span<const std::string_view> candidates) {
  // Edits between the texts with swaps of neighbours (Damerau 1964), by dynamic programming.
  const auto edits = [](std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i)
      for (std::size_t j = 0; j <= b.size(); ++j) {
        if (i == 0 || j == 0) {
          d[i][j] = i + j;
          continue;
        }
        d[i][j] = std::min(
            {d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    return d[a.size()][b.size()];
  };
  if (name.empty() || name.size() > 100) return {};
  std::string_view best;
  std::size_t best_edits = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const bool begins =
        name.size() >= 3 && candidate.starts_with(name);  // --model for --model_path
    const std::size_t count = begins ? 1 : edits(name, candidate);
    if (count < best_edits) {
      best = candidate;
      best_edits = count;
    }
  }
  return best;
}

}  // namespace tiller
