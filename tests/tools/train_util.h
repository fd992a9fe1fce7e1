#pragma once
// What the tests of training share: a folder of pictures, the smallest runs, and comparisons.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/files/image.h"
#include "tests/tools/sample_util.h"

namespace tiller::testing {

/// Pictures of 10x9 pixels in `folder`, named cat_0.png, dog_1.png, cat_2.png, ...
inline std::string make_pictures(const std::string& folder, int count, int classes = 2) {
  static const char* const kNames[] = {"cat", "dog", "emu", "fox", "gnu", "hen"};
  std::filesystem::create_directories(folder);
  for (int i = 0; i < count; ++i) {
    const Tensor picture = Tensor::empty({9, 10, 3}, DType::u8);
    for (int k = 0; k < 270; ++k)
      picture.data<std::uint8_t>()[k] =
          static_cast<std::uint8_t>((k * (7 + i % classes) + 31 * i) % 256);
    write_png(folder + "/" + kNames[i % classes] + "_" + std::to_string(i) + ".png", picture);
  }
  return folder;
}

/// A UNet that takes a step in a few milliseconds.
inline Arguments tiny_unet(const std::string& data, const std::string& out) {
  return {"train", "--data_dir",
          data,    "--out",
          out,     "--image_size",
          "8",     "--num_channels",
          "32",    "--num_res_blocks",
          "1",     "--channel_mult",
          "1",     "--attention_resolutions",
          "4",     "--batch_size",
          "4",     "--grid_samples",
          "0",     "--lr",
          "1e-3"};
}

inline Arguments tiny_classifier(const std::string& data, const std::string& out) {
  return {"train-classifier",
          "--data_dir",
          data,
          "--out",
          out,
          "--image_size",
          "8",
          "--classifier_width",
          "32",
          "--classifier_depth",
          "1",
          "--classifier_channel_mult",
          "1",
          "--classifier_attention_resolutions",
          "4",
          "--classifier_num_head_channels",
          "32",
          "--batch_size",
          "4",
          "--lr",
          "1e-3"};
}

/// The state of a step: every tensor's bytes by name, and the metadata without the flags.
struct SavedState {
  std::map<std::string, std::vector<std::uint8_t>> tensors;
  nlohmann::json training;
};
inline SavedState saved_state(const std::string& path) {
  const Checkpoint file = Checkpoint::open(path);
  SavedState state;
  for (const FileTensor& tensor : file.tensors()) {
    const Tensor value = file.read(tensor);
    const auto* bytes = static_cast<const std::uint8_t*>(value.raw());
    state.tensors[tensor.name].assign(bytes, bytes + value.bytes());
  }
  state.training = nlohmann::json::parse(file.metadata().at("tiller.training"));
  state.training.erase("flags");
  return state;
}

inline void expect_same_state(const std::string& a, const std::string& b) {
  const SavedState left = saved_state(a), right = saved_state(b);
  EXPECT_EQ(left.training, right.training);
  ASSERT_EQ(left.tensors.size(), right.tensors.size());
  for (const auto& [name, bytes] : left.tensors)
    EXPECT_TRUE(right.tensors.contains(name) && right.tensors.at(name) == bytes) << name;
}

inline std::string text_of(const std::string& path) {
  const Bytes bytes = read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

/// The rows of metrics.jsonl.
inline std::vector<nlohmann::json> metrics(const std::string& folder) {
  std::vector<nlohmann::json> rows;
  std::ifstream file(folder + "/metrics.jsonl");
  for (std::string line; std::getline(file, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tiller::testing
