#include "nn/given_flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "nn/published.h"
#include "runtime/error.h"

namespace tiller {

namespace {
[[noreturn]] void bad_value(const char* flag, const std::string& text, const char* expected) {
  fail(ErrorKind::usage, fmt::format("--{} {}: expected {}", flag, text, expected));
}

[[noreturn]] void contradicts(const char* flag, const std::string& given,
                              const std::string& shapes) {
  fail(ErrorKind::usage,
       fmt::format("--{} {} contradicts the checkpoint, whose shapes say {}", flag, given, shapes));
}

const char* text_of(bool value) { return value ? "True" : "False"; }

void compare(const FlagReader& flags, const char* flag, std::int64_t shapes) {
  if (const auto given = flags.integer(flag); given && *given != shapes)
    contradicts(flag, std::to_string(*given), std::to_string(shapes));
}

void compare(const FlagReader& flags, const char* flag, bool shapes,
             const std::string& because = {}) {
  if (const auto given = flags.boolean(flag); given && *given != shapes)
    contradicts(flag, text_of(*given), text_of(shapes) + because);
}

// The levels at which --attention_resolutions ask for attention in pictures of this size;
// resolutions below the lowest level have none, as in guided-diffusion.
std::vector<std::int64_t> asked_levels(const std::string& text, const char* flag, std::int64_t size,
                                       std::int64_t stride) {
  std::set<std::int64_t> levels;
  for (const double value : parse_numbers(text, flag)) {
    const auto resolution = static_cast<std::int64_t>(value);
    if (resolution < 1) bad_value(flag, text, "positive numbers");
    const std::int64_t ds = size / resolution;
    if (ds >= 1 && ds <= stride && (ds & (ds - 1)) == 0) levels.insert(ds);
  }
  return {levels.begin(), levels.end()};
}

const char* attention_flag(const FlagReader& flags) {
  return flags.classifier() ? "classifier_attention_resolutions" : "attention_resolutions";
}
}  // namespace

std::optional<std::string> FlagReader::text(const char* flag) const {
  if (!has(flag)) return {};
  return given_.at(flag);
}

std::optional<std::int64_t> FlagReader::integer(const char* flag) const {
  if (!has(flag)) return {};
  const std::string& text = given_.at(flag);
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size())
    bad_value(flag, text, "a whole number");
  return value;
}

std::optional<double> FlagReader::number(const char* flag) const {
  if (!has(flag)) return {};
  const std::vector<double> values = parse_numbers(given_.at(flag), flag);
  if (values.size() != 1) bad_value(flag, given_.at(flag), "one number");
  return values.front();
}

std::optional<bool> FlagReader::boolean(const char* flag) const {
  if (!has(flag)) return {};
  std::string text = given_.at(flag);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const char* yes : {"yes", "true", "t", "y", "1"})
    if (text == yes) return true;
  for (const char* no : {"no", "false", "f", "n", "0"})
    if (text == no) return false;
  bad_value(flag, given_.at(flag), "True or False");
}

void check_against_shapes(const FlagReader& flags, const Anatomy& a, bool super_resolution,
                          std::int64_t image_size) {
  const bool c = flags.classifier();
  compare(flags, c ? "classifier_width" : "num_channels", a.model_channels);
  compare(flags, c ? "classifier_depth" : "num_res_blocks", a.num_res_blocks);
  const char* mult_flag = c ? "classifier_channel_mult" : "channel_mult";
  if (const auto text = flags.text(mult_flag)) {
    const std::vector<double> mult = parse_numbers(*text, mult_flag);
    bool same = mult.size() == a.level_channels.size();
    for (std::size_t i = 0; same && i < mult.size(); ++i)
      same = static_cast<std::int64_t>(mult[i] * static_cast<double>(a.model_channels)) ==
             a.level_channels[i];
    if (!same) contradicts(mult_flag, *text, join(a.channel_mult()));
  }
  if (const auto text = flags.text(attention_flag(flags))) {
    if (asked_levels(*text, attention_flag(flags), image_size, a.stride()) !=
        a.attention_downsample) {
      std::vector<std::int64_t> resolutions;
      for (const std::int64_t ds : a.attention_downsample) resolutions.push_back(image_size / ds);
      contradicts(attention_flag(flags), *text,
                  resolutions.empty() ? "no attention but in the middle block"
                                      : fmt::format("{} (of pictures of {} pixels)",
                                                    join(resolutions), image_size));
    }
  }
  if (a.level_channels.size() > 1)
    compare(flags, c ? "classifier_resblock_updown" : "resblock_updown", a.updown,
            a.updown          ? " (no op.weight or conv.weight between the levels)"
            : a.conv_resample ? " (it has op.weight)"
                              : "");
  compare(flags, c ? "classifier_use_scale_shift_norm" : "use_scale_shift_norm", a.scale_shift,
          " (rows of emb_layers.1.weight)");
  compare(flags, "in_channels", super_resolution ? a.in_channels / 2 : a.in_channels);
  if (c) {
    if (const auto pool = flags.text("classifier_pool"); pool && parse_pool(*pool) != a.pool)
      contradicts("classifier_pool", *pool, name(a.pool));
    compare(flags, "num_classes", a.num_classes);
    return;
  }
  const bool conditional = a.num_classes > 0;
  compare(
      flags, "class_cond", conditional,
      conditional ? fmt::format(" (label_emb has {} classes)", a.num_classes) : " (no label_emb)");
  if (conditional) compare(flags, "num_classes", a.num_classes);
  const std::int64_t of_x = super_resolution ? a.in_channels / 2 : a.in_channels;
  compare(flags, "learn_sigma", a.out_channels == 2 * of_x,
          fmt::format(" ({} channels come out)", a.out_channels));
}

std::optional<std::int64_t> size_from_attention(const FlagReader& flags, const Anatomy& a) {
  const auto text = flags.text(attention_flag(flags));
  if (!text || a.attention_downsample.empty()) return {};
  std::set<std::int64_t> sizes;
  for (const double value : parse_numbers(*text, attention_flag(flags)))
    for (const std::int64_t ds : a.attention_downsample) {
      const std::int64_t size = static_cast<std::int64_t>(value) * ds;
      if (size >= a.stride() && size % a.stride() == 0 && size <= 1 << 16 &&
          asked_levels(*text, attention_flag(flags), size, a.stride()) == a.attention_downsample)
        sizes.insert(size);
    }
  if (sizes.size() != 1) return {};
  return *sizes.begin();
}

void apply(const FlagReader& flags, UNetConfig& config) {
  const auto size = flags.integer(config.super_resolution ? "large_size" : "image_size");
  if (size) config.image_size = *size;
  if (const auto heads = flags.integer("num_heads")) {
    config.num_heads = *heads;
    // A head count alone means that the width is not what decides.
    if (!flags.has("num_head_channels")) config.num_head_channels = -1;
  }
  if (const auto width = flags.integer("num_head_channels")) config.num_head_channels = *width;
  if (const auto heads = flags.integer("num_heads_upsample")) config.num_heads_upsample = *heads;
  if (const auto dropout = flags.number("dropout")) config.dropout = *dropout;
  if (const auto split = flags.boolean("use_new_attention_order"))
    config.qkv_order = *split ? QkvOrder::split : QkvOrder::legacy;
  if (const auto checkpoint = flags.boolean("use_checkpoint")) config.use_checkpoint = *checkpoint;
  if (const auto half = flags.boolean("use_fp16")) config.torso = *half ? DType::f16 : DType::f32;
}

void apply(const FlagReader& flags, ClassifierConfig& config) {
  if (const auto size = flags.integer("image_size")) {
    if (config.pool == Pool::attention && *size != config.image_size)
      contradicts("image_size", std::to_string(*size),
                  fmt::format("{} (positions of the attention pool)", config.image_size));
    config.image_size = *size;
  }
  if (const auto width = flags.integer("classifier_num_head_channels"))
    config.num_head_channels = *width;
  if (const auto half = flags.boolean("classifier_use_fp16"))
    config.torso = *half ? DType::f16 : DType::f32;
}

}  // namespace tiller
