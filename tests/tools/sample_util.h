#pragma once
// Sampling through the real program, with networks small enough for a test.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>

#include "nn/infer.h"
#include "nn/unet.h"
#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tests/tools/program_util.h"

namespace tiller::testing {

// Threads that spin while they wait take the processor from each other where tests run side by
// side. OpenMP reads this when a program starts: the child does.
inline const int kPassiveWaits = setenv("OMP_WAIT_POLICY", "passive", 0);

using Arguments = std::vector<std::string>;

inline Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// The 16-pixel pair whose trajectories PyTorch computed, with the flags that shapes cannot tell.
inline Arguments guided_pair() {
  return {"--model_path",
          data_file("unet_cond.pt"),
          "--classifier_path",
          data_file("classifier_attention.pt"),
          "--image_size",
          "16",
          "--num_head_channels",
          "32",
          "--use_new_attention_order",
          "True",
          "--classifier_num_head_channels",
          "32",
          "--noise_schedule",
          "cosine"};
}

/// The diffusion network of the pair alone.
inline Arguments unguided() {
  return {"--model_path",
          data_file("unet_cond.pt"),
          "--image_size",
          "16",
          "--num_head_channels",
          "32",
          "--use_new_attention_order",
          "True",
          "--noise_schedule",
          "cosine"};
}

/// A network with random weights in a file that tells its configuration.
inline std::string write_random_unet(const std::string& path, UNetConfig config,
                                     std::map<std::string, std::string> more = {},
                                     DiffusionHints hints = {{"noise_schedule", "cosine"},
                                                             {"diffusion_steps", "1000"},
                                                             {"rescale_timesteps", "False"}}) {
  const auto source = randomize_parameters(7);
  const UNet network(config, *source);
  Inference inference;
  inference.kind = config.super_resolution ? NetworkKind::super_resolution : NetworkKind::unet;
  inference.unet = config;
  inference.diffusion = std::move(hints);
  more.merge(config_metadata(inference));
  write_safetensors(path, state_dict(network.parameters()), more);
  return path;
}

/// As small as a UNet gets.
inline UNetConfig smallest_unet() {
  UNetConfig config;
  config.image_size = 8;
  config.out_channels = 6;
  config.model_channels = 32;
  config.num_res_blocks = 1;
  config.attention_downsample = {};
  config.channel_mult = {1};
  return config;
}

/// All files of a folder by name, with their bytes.
inline std::map<std::string, Bytes> files_of(const std::string& folder) {
  std::map<std::string, Bytes> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename()] = read_bytes(entry.path());
  return files;
}

/// The pixels of the PNGs of samples, by file name.
inline std::map<std::string, std::vector<std::uint8_t>> sample_pixels(const std::string& folder) {
  std::map<std::string, std::vector<std::uint8_t>> pixels;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".png") && name != "grid.png" && name != "preview.png")
      pixels[name] = read_image(entry.path()).to_vector<std::uint8_t>();
  }
  return pixels;
}

/// Expects arrays of u8 pixels to agree within 1, and to differ in at most `share` of all: float
/// sums in another order move a value across the edge of a truncation now and then.
inline void expect_same_pictures(const Tensor& ours, const Tensor& theirs, double share = 0.002) {
  ASSERT_EQ(ours.shape(), theirs.shape()) << to_string(ours) << to_string(theirs);
  const auto a = ours.to_vector<std::uint8_t>(), b = theirs.to_vector<std::uint8_t>();
  std::size_t different = 0;
  int most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const int distance = std::abs(a[i] - b[i]);
    different += distance > 0 ? 1 : 0;
    most = std::max(most, distance);
  }
  EXPECT_LE(most, 1);
  EXPECT_LE(static_cast<double>(different), share * static_cast<double>(a.size()));
}

/// Runs the program and sends it `signal` as soon as a file exists.
inline Ended signal_when(const std::string& file, int signal, const Arguments& arguments) {
  const TemporaryFolder folder;
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) become_program(arguments, {}, ends[1], folder / "err");
  close(ends[1]);
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0 && !std::filesystem::exists(file))
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  Ended ended;
  if (std::filesystem::exists(file) && kill(child, signal) == 0) waitpid(child, &status, 0);
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
    ended.out.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const Bytes err = read_bytes(folder / "err");
  ended.err.assign(err.begin(), err.end());
  return ended;
}

}  // namespace tiller::testing
