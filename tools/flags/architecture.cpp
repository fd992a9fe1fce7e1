#include "tools/flags/architecture.h"

namespace tiller {

namespace {

// guided-diffusion divides sizes: attention stands where the network has shrunk the picture so far.
std::vector<std::int64_t> downsamples(const Flags& flags, std::string_view name,
                                      std::int64_t size) {
  std::vector<std::int64_t> factors;
  for (const auto resolution : flags.list<std::int64_t>(name)) factors.push_back(size / resolution);
  return factors;
}

DType torso(bool use_fp16) { return use_fp16 ? DType::f16 : DType::f32; }

// The table allows these names only.
Pool pool(const std::string& name) {
  if (name == "adaptive") return Pool::adaptive;
  if (name == "attention") return Pool::attention;
  return name == "spatial" ? Pool::spatial : Pool::spatial_v2;
}

}  // namespace

std::vector<double> implied_channel_mult(std::int64_t image_size, std::string_view flag) {
  switch (image_size) {
    case 512:
      return {0.5, 1, 1, 2, 2, 4, 4};
    case 256:
      return {1, 1, 2, 2, 4, 4};
    case 128:
      return {1, 1, 2, 3, 4};
    case 64:
      return {1, 2, 3, 4};
    default:
      fail(ErrorKind::usage,
           fmt::format(
               "--image_size {} implies no level widths (64, 128, 256 and 512 do); give --{}, "
               "such as 1,2,3,4",
               image_size, flag));
  }
}

std::vector<double> implied_channel_mult_superres(std::int64_t large_size) {
  switch (large_size) {
    case 512:
    case 256:
      return {1, 1, 2, 2, 4, 4};
    case 64:
      return {1, 2, 3, 4};
    default:
      fail(ErrorKind::usage,
           fmt::format("--large_size {} implies no level widths (64, 256 and 512 do); give "
                       "--channel_mult, such as 1,2,3,4",
                       large_size));
  }
}

bool asks_super_resolution(const Flags& flags) {
  if (!flags.accepts("large_size")) return false;
  return !flags.accepts("image_size") || flags.given("large_size") || flags.given("small_size");
}

UNetConfig unet_config(const Flags& flags) {
  UNetConfig config;
  config.super_resolution = asks_super_resolution(flags);
  config.image_size =
      flags.get<std::int64_t>(config.super_resolution ? "large_size" : "image_size");
  config.in_channels = flags.get<std::int64_t>("in_channels");
  config.out_channels = config.in_channels * (flags.get<bool>("learn_sigma") ? 2 : 1);
  config.model_channels = flags.get<std::int64_t>("num_channels");
  config.num_res_blocks = flags.get<std::int64_t>("num_res_blocks");
  config.attention_downsample = downsamples(flags, "attention_resolutions", config.image_size);
  config.channel_mult = flags.list<double>("channel_mult");
  if (config.channel_mult.empty())
    config.channel_mult = config.super_resolution ? implied_channel_mult_superres(config.image_size)
                                                  : implied_channel_mult(config.image_size);
  config.num_heads = flags.get<std::int64_t>("num_heads");
  config.num_head_channels = flags.get<std::int64_t>("num_head_channels");
  config.num_heads_upsample = flags.get<std::int64_t>("num_heads_upsample");
  config.num_classes = flags.get<bool>("class_cond") ? flags.get<std::int64_t>("num_classes") : 0;
  config.dropout = flags.get<double>("dropout");
  config.use_scale_shift_norm = flags.get<bool>("use_scale_shift_norm");
  config.resblock_updown = flags.get<bool>("resblock_updown");
  config.qkv_order =
      flags.get<bool>("use_new_attention_order") ? QkvOrder::split : QkvOrder::legacy;
  config.use_checkpoint = flags.get<bool>("use_checkpoint");
  config.torso = torso(flags.get<bool>("use_fp16"));
  return config;
}

ClassifierConfig classifier_config(const Flags& flags) {
  ClassifierConfig config;
  config.image_size = flags.get<std::int64_t>("image_size");
  config.in_channels = flags.get<std::int64_t>("in_channels");
  config.num_classes = flags.get<std::int64_t>("num_classes");
  config.model_channels = flags.get<std::int64_t>("classifier_width");
  config.num_res_blocks = flags.get<std::int64_t>("classifier_depth");
  config.attention_downsample =
      downsamples(flags, "classifier_attention_resolutions", config.image_size);
  config.channel_mult = flags.list<double>("classifier_channel_mult");
  if (config.channel_mult.empty())
    config.channel_mult = implied_channel_mult(config.image_size, "classifier_channel_mult");
  config.num_head_channels = flags.get<std::int64_t>("classifier_num_head_channels");
  config.use_scale_shift_norm = flags.get<bool>("classifier_use_scale_shift_norm");
  config.resblock_updown = flags.get<bool>("classifier_resblock_updown");
  config.pool = pool(flags.get<std::string>("classifier_pool"));
  config.torso = torso(flags.get<bool>("classifier_use_fp16"));
  return config;
}

std::map<std::string, std::string> given_network_flags(const Flags& flags) {
  return flags.given_texts(network_flags());
}

}  // namespace tiller
