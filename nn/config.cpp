#include "nn/config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/torso.h"
#include "runtime/error.h"

namespace tiller {

const char* name(Pool pool) {
  switch (pool) {
    case Pool::adaptive:
      return "adaptive";
    case Pool::attention:
      return "attention";
    case Pool::spatial:
      return "spatial";
    case Pool::spatial_v2:
      return "spatial_v2";
  }
  return "?";
}

Pool parse_pool(const std::string& text) {
  for (const Pool pool : {Pool::adaptive, Pool::attention, Pool::spatial, Pool::spatial_v2})
    if (text == name(pool)) return pool;
  fail(ErrorKind::usage,
       fmt::format("--classifier_pool {}: expected adaptive, attention, spatial or spatial_v2",
                   text));
}

namespace {
using Json = nlohmann::ordered_json;

// One list of fields per configuration serves writing and reading: `visit` calls f(name, member).
template <class Config, class F>
void visit_common(Config& c, const F& f) {
  f("image_size", c.image_size);
  f("in_channels", c.in_channels);
  f("model_channels", c.model_channels);
  f("num_res_blocks", c.num_res_blocks);
  f("attention_downsample", c.attention_downsample);
  f("channel_mult", c.channel_mult);
  f("num_heads", c.num_heads);
  f("num_head_channels", c.num_head_channels);
  f("num_classes", c.num_classes);
  f("dropout", c.dropout);
  f("use_scale_shift_norm", c.use_scale_shift_norm);
  f("resblock_updown", c.resblock_updown);
  f("conv_resample", c.conv_resample);
  f("qkv_order", c.qkv_order);
  f("use_checkpoint", c.use_checkpoint);
  f("torso", c.torso);
}

template <class Config, class F>
void visit(Config& c, const F& f) {
  visit_common(c, f);
  if constexpr (requires { c.pool; }) {
    f("pool", c.pool);
  } else {
    f("out_channels", c.out_channels);
    f("num_heads_upsample", c.num_heads_upsample);
    f("super_resolution", c.super_resolution);
  }
}

template <class Config>
std::string write_json(const Config& config) {
  Json json;
  visit(config, [&](const char* key, const auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_enum_v<T>)
      json[key] = name(value);
    else
      json[key] = value;
  });
  return json.dump();
}

[[noreturn]] void bad_json(const std::string& why) {
  fail(ErrorKind::checkpoint,
       fmt::format("the configuration in the file's metadata is damaged: {}", why));
}

void read_enum(const std::string& text, QkvOrder& value) {
  if (text == name(QkvOrder::legacy))
    value = QkvOrder::legacy;
  else if (text == name(QkvOrder::split))
    value = QkvOrder::split;
  else
    bad_json(fmt::format("qkv_order is \"{}\"", text));
}
void read_enum(const std::string& text, Pool& value) { value = parse_pool(text); }
void read_enum(const std::string& text, DType& value) {
  value = parse_dtype(text);
  if (value != DType::f32 && value != DType::f16 && value != DType::bf16)
    bad_json(fmt::format("torso is \"{}\"", text));
}

template <class Config>
Config read_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) bad_json("it is no JSON object");
  Config config;
  std::size_t known = 0;
  visit(config, [&](const char* key, auto& value) {
    using T = std::remove_cvref_t<decltype(value)>;
    const auto field = json.find(key);
    if (field == json.end()) bad_json(fmt::format("the field \"{}\" is missing", key));
    ++known;
    try {
      if constexpr (std::is_enum_v<T>)
        read_enum(field->template get<std::string>(), value);
      else
        value = field->template get<T>();
    } catch (const Json::exception&) {
      bad_json(fmt::format("the field \"{}\" is {}", key, field->dump()));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::checkpoint) throw;
      bad_json(fmt::format("the field \"{}\" is {}", key, field->dump()));
    }
  });
  if (known != json.size())
    for (const auto& item : json.items()) {  // clang 14 lets no lambda have a structured binding
      const std::string& key = item.key();
      bool found = false;
      visit(config, [&](const char* ours, auto&) { found = found || key == ours; });
      if (!found)
        bad_json(fmt::format("the field \"{}\" is unknown (a newer version wrote it?)", key));
    }
  return config;
}

[[noreturn]] void refuse(const std::string& why) { fail(ErrorKind::usage, why); }

constexpr int kGroups = 32;  // of every group norm

void check_torso(const TorsoConfig& torso, const std::string& prefix, std::int64_t heads_upsample) {
  // The classifier's flags have other names for the same things.
  const bool classifier = !prefix.empty();
  const std::string width = classifier ? "--classifier_width" : "--num_channels";
  const std::string depth = classifier ? "--classifier_depth" : "--num_res_blocks";
  const std::string mult = classifier ? "--classifier_channel_mult" : "--channel_mult";
  const std::string head_channels =
      classifier ? "--classifier_num_head_channels" : "--num_head_channels";
  if (torso.model_channels < 1)
    refuse(fmt::format("{} {}: expected a positive number", width, torso.model_channels));
  if (torso.num_res_blocks < 1)
    refuse(fmt::format("{} {}: expected at least 1", depth, torso.num_res_blocks));
  if (torso.levels() < 1 || torso.levels() > 16)
    refuse(fmt::format("{}: expected 1 to 16 levels, found {}", mult, torso.levels()));
  if (torso.input_channels < 1) refuse("--in_channels: expected a positive number");
  if (!(torso.dropout >= 0 && torso.dropout < 1))
    refuse(fmt::format("--dropout {}: expected 0 <= p < 1", torso.dropout));
  if (torso.num_head_channels != -1 && torso.num_head_channels < 1)
    refuse(fmt::format("{} {}: expected -1 or a positive number", head_channels,
                       torso.num_head_channels));
  const auto check_heads = [&](std::int64_t channels, std::int64_t heads, const char* flag) {
    if (torso.num_head_channels != -1) {
      if (channels % torso.num_head_channels != 0)
        refuse(fmt::format("{} {} does not divide the {} channels of an attention block",
                           head_channels, torso.num_head_channels, channels));
    } else if (heads < 1 || channels % heads != 0) {
      refuse(fmt::format("{} {} does not divide the {} channels of an attention block", flag, heads,
                         channels));
    }
  };
  std::int64_t downsample = 1;
  for (std::size_t level = 0; level < torso.levels(); ++level, downsample *= 2) {
    const std::int64_t channels = torso.channels(level);
    if (!std::isfinite(torso.channel_mult[level]) || channels < 1 || channels > (1 << 20) ||
        channels % kGroups != 0)
      refuse(fmt::format(
          "{} {} and {} {} make {} channels, which do not divide into {} groups of the "
          "group norms",
          width, torso.model_channels, mult, torso.channel_mult[level], channels, kGroups));
    const bool bottom = level + 1 == torso.levels();  // the middle block always attends
    if (torso.attends(downsample) || bottom) check_heads(channels, torso.num_heads, "--num_heads");
    if (torso.attends(downsample) && heads_upsample != -1)
      check_heads(channels, heads_upsample, "--num_heads_upsample");
  }
}

void check_image_size(std::int64_t size, std::int64_t stride) {
  if (size < 1 || size % stride != 0)
    refuse(fmt::format("--image_size {} is not a multiple of {}, the network's down-sampling", size,
                       stride));
}
}  // namespace

std::string to_json(const UNetConfig& config) { return write_json(config); }
std::string to_json(const ClassifierConfig& config) { return write_json(config); }
UNetConfig unet_config_from_json(const std::string& json) { return read_json<UNetConfig>(json); }
ClassifierConfig classifier_config_from_json(const std::string& json) {
  return read_json<ClassifierConfig>(json);
}

void check(const UNetConfig& config) {
  const TorsoConfig torso = torso_of(config);
  check_torso(torso, "", config.num_heads_upsample);
  check_image_size(config.image_size, torso.stride());
  if (config.out_channels < 1) refuse("a UNet needs at least one output channel");
  if (config.num_classes < 0)
    refuse(fmt::format("--num_classes {}: expected 0 or more", config.num_classes));
}

void check(const ClassifierConfig& config) {
  const TorsoConfig torso = torso_of(config);
  check_torso(torso, "classifier_", -1);
  check_image_size(config.image_size, torso.stride());
  if (config.num_classes < 1)
    refuse(
        fmt::format("--num_classes {}: a classifier needs at least one class", config.num_classes));
  if (config.pool == Pool::attention && config.num_head_channels == -1)
    refuse("--classifier_num_head_channels -1: the attention pool needs the width of a head");
}

}  // namespace tiller
