#pragma once
// The architecture of a network in the networks' own terms. Flags (tools/flags), a checkpoint's
// names and shapes (nn/infer), and metadata all end in one of these.
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "runtime/dtype.h"

namespace tiller {

/// guided-diffusion's UNetModel, and with in_channels doubled its SuperResModel.
struct UNetConfig {
  std::int64_t image_size = 64;   ///< side in pixels of the pictures it was trained on
  std::int64_t in_channels = 3;   ///< of x; a super-resolution network sees twice as many
  std::int64_t out_channels = 3;  ///< twice in_channels with a learned variance
  std::int64_t model_channels = 128;
  std::int64_t num_res_blocks = 2;
  std::vector<std::int64_t> attention_downsample = {4, 8};  ///< image_size / attention_resolutions
  std::vector<double> channel_mult = {1, 2, 3,
                                      4};  ///< may be fractional: int(mult * model_channels)
  std::int64_t num_heads = 4;              ///< used where num_head_channels is -1
  std::int64_t num_head_channels = -1;     ///< width of a head, or -1
  std::int64_t num_heads_upsample = -1;    ///< heads in the decoder, or -1 for num_heads
  std::int64_t num_classes = 0;            ///< rows of the class embedding, 0 when unconditional
  double dropout = 0;
  bool use_scale_shift_norm = true;
  bool resblock_updown = false;
  bool conv_resample =
      true;  ///< false: resample without a convolution (no flag of OpenAI's scripts)
  bool super_resolution = false;
  QkvOrder qkv_order = QkvOrder::legacy;  ///< split with --use_new_attention_order
  bool use_checkpoint = false;
  DType torso = DType::f32;  ///< f16 with --use_fp16, or bf16
  friend bool operator==(const UNetConfig&, const UNetConfig&) = default;
};

/// What a classifier does with its last feature map: guided-diffusion's --classifier_pool.
enum class Pool : std::uint8_t { adaptive, attention, spatial, spatial_v2 };
const char* name(Pool pool);
Pool parse_pool(const std::string& text);  ///< throws Error(usage)

/// guided-diffusion's EncoderUNetModel, the noised classifier.
struct ClassifierConfig {
  std::int64_t image_size = 64;
  std::int64_t in_channels = 3;
  std::int64_t num_classes = 1000;
  std::int64_t model_channels = 128;
  std::int64_t num_res_blocks = 2;
  std::vector<std::int64_t> attention_downsample = {2, 4, 8};
  std::vector<double> channel_mult = {1, 2, 3, 4};
  std::int64_t num_heads = 1;  ///< used where num_head_channels is -1
  std::int64_t num_head_channels = 64;
  double dropout = 0;
  bool use_scale_shift_norm = true;
  bool resblock_updown = true;
  bool conv_resample = true;
  QkvOrder qkv_order = QkvOrder::legacy;  ///< the attention pool is always split
  Pool pool = Pool::attention;
  bool use_checkpoint = false;
  DType torso = DType::f32;
  friend bool operator==(const ClassifierConfig&, const ClassifierConfig&) = default;
};

/// As JSON text, for a checkpoint's metadata; and back. from_json throws Error(checkpoint) for text
/// that is no configuration, naming the field.
std::string to_json(const UNetConfig& config);
std::string to_json(const ClassifierConfig& config);
UNetConfig unet_config_from_json(const std::string& json);
ClassifierConfig classifier_config_from_json(const std::string& json);

/// Throw Error(usage) for a configuration that cannot be built (channels not divisible by 32 groups
/// or by the head width, no levels, ...), naming the flag.
void check(const UNetConfig& config);
void check(const ClassifierConfig& config);

}  // namespace tiller
