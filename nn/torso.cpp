#include "nn/torso.h"

#include <algorithm>

namespace tiller {

std::int64_t level_channels(double multiplier, std::int64_t model_channels) {
  return static_cast<std::int64_t>(multiplier * static_cast<double>(model_channels));
}

std::int64_t TorsoConfig::channels(std::size_t level) const {
  return level_channels(channel_mult[level], model_channels);
}

bool TorsoConfig::attends(std::int64_t downsample) const {
  return std::find(attention_downsample.begin(), attention_downsample.end(), downsample) !=
         attention_downsample.end();
}

namespace {
template <class Config>
TorsoConfig common(const Config& config) {
  TorsoConfig torso;
  torso.input_channels = config.in_channels;
  torso.model_channels = config.model_channels;
  torso.num_res_blocks = config.num_res_blocks;
  torso.attention_downsample = config.attention_downsample;
  torso.channel_mult = config.channel_mult;
  torso.num_heads = config.num_heads;
  torso.num_head_channels = config.num_head_channels;
  torso.dropout = config.dropout;
  torso.use_scale_shift_norm = config.use_scale_shift_norm;
  torso.resblock_updown = config.resblock_updown;
  torso.conv_resample = config.conv_resample;
  torso.qkv_order = config.qkv_order;
  torso.use_checkpoint = config.use_checkpoint;
  return torso;
}
}  // namespace

TorsoConfig torso_of(const UNetConfig& config) {
  TorsoConfig torso = common(config);
  if (config.super_resolution) torso.input_channels *= 2;
  return torso;
}

TorsoConfig torso_of(const ClassifierConfig& config) { return common(config); }

}  // namespace tiller
