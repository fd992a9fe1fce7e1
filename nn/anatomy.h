#pragma once
// What names and shapes alone tell about a network.
#include <optional>
#include <string>
#include <vector>

#include "nn/infer.h"

namespace tiller {

/// The architecture as far as tensors show it. Everything else (heads, qkv order, dropout, the
/// picture size of a network without attention pool) has to come from somewhere else.
struct Anatomy {
  bool classifier = false;
  std::int64_t model_channels = 0;
  std::int64_t in_channels =
      0;  ///< of the first convolution; doubled in a super-resolution network
  std::int64_t out_channels = 0;  ///< of the UNet's last convolution
  std::int64_t num_classes = 0;   ///< rows of label_emb, or of the classifier's last layer
  std::int64_t num_res_blocks = 0;
  std::vector<std::int64_t> level_channels;
  std::vector<std::int64_t> attention_downsample;  ///< 1, 2, 4, ... by level
  bool scale_shift = false;
  bool updown = false;        ///< residual blocks change the resolution
  bool conv_resample = true;  ///< else: convolutions do
  Pool pool = Pool::attention;
  std::int64_t positions = 0;  ///< of the attention pool, without the mean token

  std::int64_t stride() const { return std::int64_t{1} << (level_channels.size() - 1); }
  std::vector<double> channel_mult() const;
};

/// Reads the architecture. `num_res_blocks` helps where shapes leave the depth open. Throws
/// Error(checkpoint) when the tensors are no guided-diffusion network, saying what they look like;
/// Error(usage) naming the flag when the depth is ambiguous.
Anatomy read_anatomy(const std::vector<NamedShape>& tensors,
                     std::optional<std::int64_t> num_res_blocks = {});

/// A sentence on whose checkpoint this is when it is not guided-diffusion's, else "".
std::string foreign_family(const std::vector<NamedShape>& tensors);

/// Every flag in which two architectures differ: "--num_res_blocks: the network has 2, the file 3".
std::vector<std::string> flag_differences(const Anatomy& network, const Anatomy& file);

/// Text of flags: "1,2,0.5".
std::string join(const std::vector<double>& values);
std::string join(const std::vector<std::int64_t>& values);

}  // namespace tiller
