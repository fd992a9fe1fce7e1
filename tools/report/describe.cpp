#include "tools/report/describe.h"

#include <fmt/format.h>

namespace tiller {

namespace {

std::string multipliers(const std::vector<double>& mult) {
  return fmt::format("{:g}", fmt::join(mult, ","));
}

// --attention_resolutions: sides in pixels of the feature maps that attend.
std::string resolutions(std::int64_t size, const std::vector<std::int64_t>& downsample) {
  std::string text;
  for (const std::int64_t ds : downsample)
    text += fmt::format("{}{}", text.empty() ? "" : ",", size / ds);
  return text.empty() ? "\"\"" : text;
}

const char* boolean(bool value) { return value ? "True" : "False"; }

std::string heads(std::int64_t count, std::int64_t width) {
  return width == -1 ? fmt::format("{} heads", count) : fmt::format("heads of {} channels", width);
}

const char* order(QkvOrder o) { return o == QkvOrder::split ? "new" : "legacy"; }

std::string unet_words(const UNetConfig& c) {
  std::string text = fmt::format(
      "{}, {}x{} pictures of {} channels, {} out{}\n"
      "{} channels x {}, {} residual blocks per level, attention at {}\n"
      "{}, {} qkv order, {}, {}",
      c.super_resolution ? "super-resolution UNet" : "UNet", c.image_size, c.image_size,
      c.in_channels, c.out_channels,
      c.out_channels == 2 * c.in_channels ? " (learned variance)" : "", c.model_channels,
      multipliers(c.channel_mult), c.num_res_blocks,
      resolutions(c.image_size, c.attention_downsample), heads(c.num_heads, c.num_head_channels),
      order(c.qkv_order), c.use_scale_shift_norm ? "scale-shift norm" : "added embedding",
      c.resblock_updown ? "resampling residual blocks" : "resampling convolutions");
  return text +
         (c.num_classes > 0 ? fmt::format(", {} classes", c.num_classes) : ", unconditional");
}

std::string classifier_words(const ClassifierConfig& c) {
  return fmt::format(
      "noised classifier, {}x{} pictures of {} channels, {} classes, {} pool\n"
      "{} channels x {}, {} residual blocks per level, attention at {}\n"
      "{}, {}, {}",
      c.image_size, c.image_size, c.in_channels, c.num_classes, name(c.pool), c.model_channels,
      multipliers(c.channel_mult), c.num_res_blocks,
      resolutions(c.image_size, c.attention_downsample), heads(c.num_heads, c.num_head_channels),
      c.use_scale_shift_norm ? "scale-shift norm" : "added embedding",
      c.resblock_updown ? "resampling residual blocks" : "resampling convolutions");
}

std::string unet_flags(const UNetConfig& c) {
  std::string text = c.super_resolution ? fmt::format("--large_size {}", c.image_size)
                                        : fmt::format("--image_size {}", c.image_size);
  text += fmt::format(
      " --num_channels {} --num_res_blocks {} --channel_mult {} --attention_resolutions {} "
      "--class_cond {} --learn_sigma {} --use_scale_shift_norm {} --resblock_updown {} "
      "--use_new_attention_order {}",
      c.model_channels, c.num_res_blocks, multipliers(c.channel_mult),
      resolutions(c.image_size, c.attention_downsample), boolean(c.num_classes > 0),
      boolean(c.out_channels == 2 * c.in_channels), boolean(c.use_scale_shift_norm),
      boolean(c.resblock_updown), boolean(c.qkv_order == QkvOrder::split));
  text += c.num_head_channels == -1 ? fmt::format(" --num_heads {}", c.num_heads)
                                    : fmt::format(" --num_head_channels {}", c.num_head_channels);
  if (c.num_heads_upsample != -1)
    text += fmt::format(" --num_heads_upsample {}", c.num_heads_upsample);
  if (c.num_classes > 0 && c.num_classes != 1000)
    text += fmt::format(" --num_classes {}", c.num_classes);
  if (c.in_channels != 3) text += fmt::format(" --in_channels {}", c.in_channels);
  if (c.torso == DType::f16) text += " --use_fp16 True";
  return text;
}

std::string classifier_flags(const ClassifierConfig& c) {
  std::string text = fmt::format(
      "--image_size {} --classifier_width {} --classifier_depth {} --classifier_channel_mult {} "
      "--classifier_attention_resolutions {} --classifier_pool {} "
      "--classifier_use_scale_shift_norm {} --classifier_resblock_updown {} "
      "--classifier_num_head_channels {}",
      c.image_size, c.model_channels, c.num_res_blocks, multipliers(c.channel_mult),
      resolutions(c.image_size, c.attention_downsample), name(c.pool),
      boolean(c.use_scale_shift_norm), boolean(c.resblock_updown), c.num_head_channels);
  if (c.num_classes != 1000) text += fmt::format(" --num_classes {}", c.num_classes);
  if (c.in_channels != 3) text += fmt::format(" --in_channels {}", c.in_channels);
  if (c.torso == DType::f16) text += " --classifier_use_fp16 True";
  return text;
}

}  // namespace

std::string architecture_in_words(const Inference& inference) {
  return inference.kind == NetworkKind::classifier ? classifier_words(inference.classifier)
                                                   : unet_words(inference.unet);
}

std::string flag_line(const Inference& inference) {
  std::string text = inference.kind == NetworkKind::classifier
                         ? classifier_flags(inference.classifier)
                         : unet_flags(inference.unet);
  for (const auto& [flag, value] : inference.diffusion) {
    if (text.find("--" + flag + " ") != std::string::npos) continue;
    text += fmt::format(" --{} {}", flag, value.empty() ? "\"\"" : value);
  }
  return text;
}

}  // namespace tiller
