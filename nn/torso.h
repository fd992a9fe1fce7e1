#pragma once
// What the UNet and the classifier have in common: a tower of levels of residual and attention
// blocks.
#include <cstdint>
#include <vector>

#include "nn/config.h"

namespace tiller {

/// The part of a configuration from which the tower of blocks is built.
struct TorsoConfig {
  std::int64_t input_channels = 3;  ///< of what the first convolution sees
  std::int64_t model_channels = 128;
  std::int64_t num_res_blocks = 2;
  std::vector<std::int64_t> attention_downsample;
  std::vector<double> channel_mult;
  std::int64_t num_heads = 1;
  std::int64_t num_head_channels = -1;
  double dropout = 0;
  bool use_scale_shift_norm = true;
  bool resblock_updown = false;
  bool conv_resample = true;
  QkvOrder qkv_order = QkvOrder::legacy;
  bool use_checkpoint = false;

  std::int64_t embedding_channels() const { return 4 * model_channels; }
  /// Channels that the emb_layers of a residual block of `out` channels give: scale and shift, or what
  /// is added.
  std::int64_t block_embedding_channels(std::int64_t out) const {
    return use_scale_shift_norm ? 2 * out : out;
  }
  /// Channels of a level: int(channel_mult[level] * model_channels), as guided-diffusion rounds.
  std::int64_t channels(std::size_t level) const;
  /// Heads of an attention block of `width` channels.
  std::int64_t heads(std::int64_t width) const {
    return num_head_channels == -1 ? num_heads : width / num_head_channels;
  }
  bool attends(std::int64_t downsample) const;
  std::size_t levels() const { return channel_mult.size(); }
  /// What the height and width of a picture must be multiples of: 2^(levels - 1).
  std::int64_t stride() const { return std::int64_t{1} << (levels() - 1); }
};

TorsoConfig torso_of(const UNetConfig& config);
TorsoConfig torso_of(const ClassifierConfig& config);

/// int(multiplier * model_channels).
std::int64_t level_channels(double multiplier, std::int64_t model_channels);

}  // namespace tiller
