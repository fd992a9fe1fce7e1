#include "nn/published.h"

#include <charconv>

#include "runtime/error.h"

namespace tiller {

namespace {
constexpr auto kUNet = NetworkKind::unet;
constexpr auto kSuperRes = NetworkKind::super_resolution;
constexpr auto kClassifier = NetworkKind::classifier;
constexpr auto kLegacy = QkvOrder::legacy;
constexpr auto kSplit = QkvOrder::split;

constexpr const char* kMult64 = "1,2,3,4";
constexpr const char* kMult128 = "1,1,2,3,4";
constexpr const char* kMult256 = "1,1,2,2,4,4";
constexpr const char* kMult512 = "0.5,1,1,2,2,4,4";

// Attention is given by down-sampling: --attention_resolutions 32,16,8 of 256 pixels is 8,16,32.
// Where several models have the same shapes, the first is assumed.
constexpr KnownModel kKnown[] = {
    // guided-diffusion (2021)
    {"64x64_diffusion", kUNet, 64, 192, 3, kMult64, "2,4,8", 4, 64, true, true, true, 0.1, kSplit,
     "cosine"},
    {"128x128_diffusion", kUNet, 128, 256, 2, kMult128, "4,8,16", 4, -1, true, true, true},
    {"256x256_diffusion", kUNet, 256, 256, 2, kMult256, "8,16,32", 4, 64, true, true, true},
    {"256x256_diffusion_uncond", kUNet, 256, 256, 2, kMult256, "8,16,32", 4, 64, false, true, true},
    {"512x512_diffusion", kUNet, 512, 256, 2, kMult512, "16,32,64", 4, 64, true, true, true},
    {"64_256_upsampler", kSuperRes, 256, 192, 2, kMult256, "8,16,32", 4, -1, true, true, true},
    {"128_512_upsampler", kSuperRes, 512, 192, 2, kMult256, "16,32", 4, 64, true, true, true},
    {"lsun_bedroom", kUNet, 256, 256, 2, kMult256, "8,16,32", 4, 64, false, true, true, 0.1},
    {"lsun_cat", kUNet, 256, 256, 2, kMult256, "8,16,32", 4, 64, false, true, true, 0.1},
    {"lsun_horse", kUNet, 256, 256, 2, kMult256, "8,16,32", 4, 64, false, true, true, 0.1},
    {"lsun_horse_nodropout", kUNet, 256, 256, 2, kMult256, "8,16,32", 4, 64, false, true, true},
    {"64x64_classifier", kClassifier, 64, 128, 4, kMult64, "2,4,8", 1, 64, true, true, true, 0,
     kLegacy, "cosine"},
    {"128x128_classifier", kClassifier, 128, 128, 2, kMult128, "4,8,16", 1, 64, true, true, true},
    {"256x256_classifier", kClassifier, 256, 128, 2, kMult256, "8,16,32", 1, 64, true, true, true},
    {"512x512_classifier", kClassifier, 512, 128, 2, kMult512, "16,32,64", 1, 64, true, true, true},
    // improved-diffusion (2021)
    {"imagenet64_uncond_100M", kUNet, 64, 128, 3, kMult64, "4,8", 4, -1, false, true, false, 0,
     kLegacy, "cosine", 4000, true},
    {"cifar10_uncond_50M", kUNet, 32, 128, 3, "1,2,2,2", "2,4", 4, -1, false, true, false, 0.3,
     kLegacy, "cosine", 4000, true},
    {"imagenet64_cond_270M", kUNet, 64, 192, 3, kMult64, "4,8", 4, -1, true, true, false, 0,
     kLegacy, "cosine", 4000},
    {"upsample_cond_500K", kSuperRes, 256, 192, 2, kMult256, "16,32", 4, -1, true, true, false, 0,
     kLegacy, "linear", 4000},
    {"lsun_uncond_100M", kUNet, 256, 128, 2, kMult256, "16", 1, -1, false, false, false},
    // widely used by the community
    {"512x512_diffusion_uncond_finetune", kUNet, 512, 256, 2, kMult512, "16,32,64", 4, 64, false,
     true, true},
    {"ffhq_10m", kUNet, 256, 128, 1, kMult256, "16", 4, 64, false, true, true},
    {"portrait_generator", kUNet, 512, 128, 2, kMult512, "16,32,64", 4, -1, false, true, true},
    {"Ukiyo-e_Diffusion", kUNet, 256, 128, 2, kMult256, "8,16,32", 4, -1, false, true, true},
};

std::vector<std::int64_t> integers(const char* text) {
  std::vector<std::int64_t> list;
  for (const double value : parse_numbers(text, "attention"))
    list.push_back(static_cast<std::int64_t>(value));
  return list;
}

template <class Config>
Config common(const KnownModel& model) {
  Config config;
  config.image_size = model.image_size;
  config.model_channels = model.channels;
  config.num_res_blocks = model.res_blocks;
  config.channel_mult = parse_numbers(model.channel_mult, "channel_mult");
  config.attention_downsample = integers(model.attention_downsample);
  config.num_heads = model.heads;
  config.num_head_channels = model.head_channels;
  config.num_classes = model.class_cond ? 1000 : 0;
  config.dropout = model.dropout;
  config.use_scale_shift_norm = model.scale_shift;
  config.resblock_updown = model.updown;
  config.qkv_order = model.order;
  return config;
}
}  // namespace

std::span<const KnownModel> known_models() { return kKnown; }

UNetConfig unet_config(const KnownModel& model) {
  TILLER_CHECK(model.kind != NetworkKind::classifier, "{} is a classifier", model.name);
  auto config = common<UNetConfig>(model);
  config.out_channels = 6;  // all of them learn the variance
  config.super_resolution = model.kind == NetworkKind::super_resolution;
  return config;
}

ClassifierConfig classifier_config(const KnownModel& model) {
  TILLER_CHECK(model.kind == NetworkKind::classifier, "{} is no classifier", model.name);
  auto config = common<ClassifierConfig>(model);
  config.pool = Pool::attention;
  return config;
}

DiffusionHints diffusion_hints(const KnownModel& model) {
  return {{"diffusion_steps", std::to_string(model.diffusion_steps)},
          {"noise_schedule", model.noise_schedule},
          {"rescale_timesteps", model.rescale_timesteps ? "True" : "False"}};
}

std::vector<double> parse_numbers(const std::string& text, const char* flag) {
  std::vector<double> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    while (at < end && *at == ' ') ++at;
    double value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || stop == at)
      fail(ErrorKind::usage,
           fmt::format("--{} {}: expected numbers with commas between", flag, text));
    numbers.push_back(value);
    at = stop;
    while (at < end && *at == ' ') ++at;
    if (at == end) return numbers;
    if (*at != ',')
      fail(ErrorKind::usage,
           fmt::format("--{} {}: expected numbers with commas between", flag, text));
    ++at;
  }
}

}  // namespace tiller
