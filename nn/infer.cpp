#include "nn/infer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/anatomy.h"
#include "nn/classifier.h"
#include "nn/given_flags.h"
#include "nn/mismatch.h"
#include "nn/published.h"
#include "nn/torso.h"
#include "nn/unet.h"
#include "runtime/error.h"

namespace tiller {

const char* name(NetworkKind kind) {
  switch (kind) {
    case NetworkKind::unet:
      return "unet";
    case NetworkKind::super_resolution:
      return "super_resolution";
    case NetworkKind::classifier:
      return "classifier";
  }
  return "?";
}

std::vector<NamedShape> named_shapes(const Checkpoint& checkpoint) {
  std::vector<NamedShape> shapes;
  for (const FileTensor& tensor : checkpoint.tensors())
    shapes.push_back({tensor.name, tensor.shape});
  return shapes;
}

namespace {
std::vector<NamedShape> shapes_of(const ParameterList& parameters) {
  std::vector<NamedShape> shapes;
  for (const Parameter& p : parameters.all()) shapes.push_back({p.key, p.file_shape});
  return shapes;
}

std::vector<NamedShape> listed(const Inference& inference) {
  const auto source = list_parameters();
  if (inference.kind == NetworkKind::classifier)
    return shapes_of(Classifier(inference.classifier, *source).parameters());
  return shapes_of(UNet(inference.unet, *source).parameters());
}

// Attention at levels that exist, in order: all that attention_downsample means to the shapes.
template <class Config>
std::vector<std::int64_t> existing_levels(const Config& config) {
  std::vector<std::int64_t> levels;
  const TorsoConfig torso = torso_of(config);
  for (std::int64_t ds = 1; ds <= torso.stride(); ds *= 2)
    if (torso.attends(ds)) levels.push_back(ds);
  return levels;
}

template <class Config>
std::vector<std::int64_t> level_widths(const Config& config) {
  std::vector<std::int64_t> widths;
  const TorsoConfig torso = torso_of(config);
  for (std::size_t level = 0; level < torso.levels(); ++level)
    widths.push_back(torso.channels(level));
  return widths;
}

template <class Config>
bool same_tower(const Config& a, const Config& b) {
  return a.in_channels == b.in_channels && a.model_channels == b.model_channels &&
         a.num_res_blocks == b.num_res_blocks && a.num_classes == b.num_classes &&
         a.use_scale_shift_norm == b.use_scale_shift_norm &&
         (a.resblock_updown == b.resblock_updown || a.channel_mult.size() == 1) &&
         (a.conv_resample == b.conv_resample || a.resblock_updown || a.channel_mult.size() == 1) &&
         level_widths(a) == level_widths(b) && existing_levels(a) == existing_levels(b);
}
// Whether two configurations give the same names and shapes.
bool same_shapes(const UNetConfig& a, const UNetConfig& b) {
  return same_tower(a, b) && a.out_channels == b.out_channels &&
         a.super_resolution == b.super_resolution;
}
bool same_shapes(const ClassifierConfig& a, const ClassifierConfig& b) {
  return same_tower(a, b) && a.pool == b.pool &&
         (a.pool != Pool::attention || a.image_size == b.image_size);
}

template <class Config>
void from_anatomy(const Anatomy& a, Config& config) {
  config.in_channels = a.in_channels;
  config.model_channels = a.model_channels;
  config.num_res_blocks = a.num_res_blocks;
  config.num_classes = a.num_classes;
  config.attention_downsample = a.attention_downsample;
  config.channel_mult = a.channel_mult();
  config.use_scale_shift_norm = a.scale_shift;
  config.resblock_updown = a.updown;
  config.conv_resample = a.conv_resample;
}

// The picture size that guided-diffusion's tables give these multipliers, else one whose lowest
// level has 8x8 positions.
std::int64_t usual_size(const std::vector<double>& mult, std::int64_t stride) {
  if (mult == std::vector<double>{1, 2, 3, 4}) return 64;
  if (mult == std::vector<double>{1, 2, 2, 2}) return 32;
  if (mult == std::vector<double>{1, 1, 2, 3, 4}) return 128;
  if (mult == std::vector<double>{1, 1, 2, 2, 4, 4}) return 256;
  if (mult == std::vector<double>{0.5, 1, 1, 2, 2, 4, 4}) return 512;
  return 8 * stride;
}

// Channels of every attention block; the middle block always attends.
template <class Config>
std::vector<std::int64_t> attention_widths(const Config& config) {
  const TorsoConfig torso = torso_of(config);
  std::vector<std::int64_t> widths = {torso.channels(torso.levels() - 1)};
  for (std::size_t level = 0; level < torso.levels(); ++level)
    if (torso.attends(std::int64_t{1} << level)) widths.push_back(torso.channels(level));
  return widths;
}

bool divides_all(std::int64_t n, const std::vector<std::int64_t>& widths) {
  return std::all_of(widths.begin(), widths.end(), [n](std::int64_t w) { return w % n == 0; });
}

bool is_super_resolution(const Anatomy& a, const FlagReader& flags) {
  if (a.classifier || a.in_channels % 2 != 0) return false;
  const std::int64_t half = a.in_channels / 2;
  if (a.out_channels != half && a.out_channels != 2 * half) return false;
  if (const auto in = flags.integer("in_channels")) return *in == half;
  if (flags.has("large_size") || flags.has("small_size")) return true;
  // Six channels in are a picture and its low-resolution version; so is twice what comes out.
  return a.in_channels == 6 || a.out_channels == half;
}

// One inference in progress: what is settled, and what had to be assumed.
class Inferrer {
 public:
  Inferrer(const std::vector<NamedShape>& tensors, const GivenFlags& given, std::string file_name)
      : tensors_(tensors), given_(given), file_name_(std::move(file_name)) {}
  Inference run(const std::map<std::string, std::string>& metadata);

 private:
  bool from_metadata(const std::map<std::string, std::string>& metadata);
  template <class Config, class MakeConfig>
  bool from_known(Config& config, const MakeConfig& make);
  template <class Config>
  void from_habit(Config& config, const FlagReader& flags);
  void assume_size(const FlagReader& flags, std::int64_t size);
  void assume(std::string line) { result_.assumed.push_back(std::move(line)); }

  const std::vector<NamedShape>& tensors_;
  const GivenFlags& given_;
  std::string file_name_;
  Anatomy anatomy_;
  Inference result_;
};

bool Inferrer::from_metadata(const std::map<std::string, std::string>& metadata) {
  const auto config = metadata.find("tiller.config");
  if (config == metadata.end()) return false;
  bool agrees = false;
  if (result_.kind == NetworkKind::classifier) {
    const ClassifierConfig stored = classifier_config_from_json(config->second);
    agrees = same_shapes(stored, result_.classifier);
    result_.classifier = stored;
  } else {
    const UNetConfig stored = unet_config_from_json(config->second);
    UNetConfig seen = result_.unet;
    // Which of two equal shapes it is (super-resolution or a picture of twice the channels), it
    // knows.
    seen.super_resolution = stored.super_resolution;
    seen.in_channels = stored.super_resolution ? anatomy_.in_channels / 2 : anatomy_.in_channels;
    agrees = same_shapes(stored, seen);
    result_.unet = stored;
    result_.kind = stored.super_resolution ? NetworkKind::super_resolution : NetworkKind::unet;
  }
  if (!agrees)
    fail(
        ErrorKind::checkpoint,
        "the configuration in the file's metadata (tiller.config) contradicts its tensors' shapes");
  if (const auto hints = metadata.find("tiller.diffusion"); hints != metadata.end()) {
    const auto json = nlohmann::json::parse(hints->second, nullptr, false);
    if (json.is_object())
      for (const auto& [key, value] : json.items())
        if (value.is_string()) result_.diffusion[key] = value.get<std::string>();
  }
  return true;
}

template <class Config, class MakeConfig>
bool Inferrer::from_known(Config& config, const MakeConfig& make) {
  std::vector<const KnownModel*> alike;
  for (const KnownModel& model : known_models())
    if (model.kind == result_.kind && same_shapes(make(model), config)) alike.push_back(&model);
  if (alike.empty()) return false;
  // The file's name is a hint only: it picks among models of equal shapes. The longest name that
  // fits wins (lsun_horse_nodropout over lsun_horse).
  const KnownModel* chosen = nullptr;
  for (const KnownModel* model : alike)
    if (file_name_.find(model->name) != std::string::npos &&
        (!chosen || std::string(model->name).size() > std::string(chosen->name).size()))
      chosen = model;
  const bool named = chosen != nullptr;
  std::string names;
  for (const KnownModel* model : alike)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", model->name);
  if (!chosen) chosen = alike.front();
  result_.published = named ? chosen->name : names;
  result_.diffusion = diffusion_hints(*chosen);
  config = make(*chosen);
  if (named || result_.kind == NetworkKind::classifier) return true;
  std::string settings;
  const auto add = [&](const char* flag, const std::string& value) {
    if (!given_.contains(flag))
      settings += fmt::format("{}--{} {}", settings.empty() ? "" : " ", flag, value);
  };
  if (!given_.contains("num_heads"))
    add("num_head_channels", std::to_string(config.num_head_channels));
  if (config.num_head_channels == -1) add("num_heads", std::to_string(config.num_heads));
  // OpenAI's super-resolution scripts have no such flag: their networks are all in legacy order.
  if (result_.kind == NetworkKind::unet)
    add("use_new_attention_order", config.qkv_order == QkvOrder::split ? "True" : "False");
  if (!settings.empty())
    assume(
        fmt::format("the shapes are those of {}: assumed {} as there; a network of your own may "
                    "differ, and shapes cannot tell",
                    result_.published, settings));
  return true;
}

// What guided-diffusion's scripts would most likely have been told.
template <class Config>
void Inferrer::from_habit(Config& config, const FlagReader& flags) {
  const std::vector<std::int64_t> widths = attention_widths(config);
  const bool c = result_.kind == NetworkKind::classifier;
  const char* width_flag = c ? "classifier_num_head_channels" : "num_head_channels";
  if (!flags.has(width_flag) && (c || !flags.has("num_heads"))) {
    // OpenAI's classifiers and large models have heads of 64 channels; the scripts' default is 4
    // heads.
    std::int64_t width = c || config.resblock_updown ? 64 : -1;
    while (width > 1 && !divides_all(width, widths)) width = c ? width / 2 : -1;
    config.num_head_channels = width;
    config.num_heads = !c && width == -1 && divides_all(4, widths) ? 4 : 1;
    assume(width != -1 ? fmt::format("assumed heads of {} channels (--{} {}); shapes cannot tell",
                                     width, width_flag, width)
                       : fmt::format("assumed {} heads (--num_heads {}); shapes cannot tell",
                                     config.num_heads, config.num_heads));
  }
  if (!c && !flags.has("use_new_attention_order"))
    assume("assumed legacy qkv order (--use_new_attention_order False); shapes cannot tell");
}

void Inferrer::assume_size(const FlagReader& flags, std::int64_t size) {
  const char* flag = result_.kind == NetworkKind::super_resolution ? "large_size" : "image_size";
  if (!flags.has(flag))
    assume(fmt::format("assumed pictures of {} pixels (--{} {}); shapes cannot tell", size, flag,
                       size));
}

Inference Inferrer::run(const std::map<std::string, std::string>& metadata) {
  const bool c = std::none_of(tensors_.begin(), tensors_.end(), [](const NamedShape& tensor) {
    return tensor.name.starts_with("output_blocks.");
  });
  const FlagReader flags(given_, c);
  std::optional<std::int64_t> depth = flags.integer(c ? "classifier_depth" : "num_res_blocks");
  if (const auto stored = metadata.find("tiller.config"); !depth && c && stored != metadata.end())
    depth = classifier_config_from_json(stored->second).num_res_blocks;
  anatomy_ = read_anatomy(tensors_, depth);

  bool size_known = true;
  if (c) {
    result_.kind = NetworkKind::classifier;
    ClassifierConfig& config = result_.classifier;
    from_anatomy(anatomy_, config);
    config.pool = anatomy_.pool;
    if (config.pool == Pool::attention) {
      const std::int64_t side = std::llround(std::sqrt(static_cast<double>(anatomy_.positions)));
      config.image_size = side * anatomy_.stride();
    } else {
      config.image_size = usual_size(config.channel_mult, anatomy_.stride());
      size_known = false;
    }
    if (!from_metadata(metadata)) {
      if (!from_known(config, classifier_config)) from_habit(config, flags);
      if (!size_known) assume_size(flags, config.image_size);
    }
  } else {
    const bool super = is_super_resolution(anatomy_, flags);
    result_.kind = super ? NetworkKind::super_resolution : NetworkKind::unet;
    UNetConfig& config = result_.unet;
    from_anatomy(anatomy_, config);
    config.super_resolution = super;
    if (super) config.in_channels /= 2;
    config.out_channels = anatomy_.out_channels;
    config.image_size = usual_size(config.channel_mult, anatomy_.stride());
    if (!from_metadata(metadata) && !from_known(config, unet_config)) {
      from_habit(config, flags);
      if (const auto size = size_from_attention(flags, anatomy_))
        config.image_size = *size;
      else
        assume_size(flags, config.image_size);
    }
  }

  // Heads by count and by width exclude each other; the configuration of the network is what they
  // meet.
  const std::int64_t size =
      c ? flags.integer("image_size").value_or(result_.classifier.image_size)
        : flags.integer(result_.unet.super_resolution ? "large_size" : "image_size")
              .value_or(result_.unet.image_size);
  check_against_shapes(flags, anatomy_, result_.kind == NetworkKind::super_resolution, size);
  if (c)
    apply(flags, result_.classifier);
  else
    apply(flags, result_.unet);

  const std::string mismatch = explain_mismatch(listed(result_), tensors_);
  if (!mismatch.empty())
    fail(ErrorKind::checkpoint,
         fmt::format("this resembles a network of guided-diffusion, but {}", mismatch));
  return result_;
}
}  // namespace

Inference infer(const std::vector<NamedShape>& tensors,
                const std::map<std::string, std::string>& metadata, const GivenFlags& given,
                const std::string& file_name) {
  return Inferrer(tensors, given, file_name).run(metadata);
}

Inference infer(const Checkpoint& checkpoint, const GivenFlags& given) {
  const std::string& path = checkpoint.path();
  if (checkpoint.content() == FileContent::optimizer)
    fail(ErrorKind::checkpoint,
         fmt::format(
             "{}: this is an optimizer's state, not a network's weights; the weights lie beside "
             "it (model*.pt, ema_*.pt)",
             path));
  try {
    return infer(named_shapes(checkpoint), checkpoint.metadata(), given,
                 path.substr(path.find_last_of('/') + 1));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint || path.empty()) throw;
    throw Error(error.kind(), fmt::format("{}: {}", path, error.what()));
  }
}

std::map<std::string, std::string> config_metadata(const Inference& inference) {
  std::map<std::string, std::string> metadata;
  metadata["tiller.kind"] = name(inference.kind);
  metadata["tiller.config"] = inference.kind == NetworkKind::classifier
                                  ? to_json(inference.classifier)
                                  : to_json(inference.unet);
  if (!inference.diffusion.empty())
    metadata["tiller.diffusion"] = nlohmann::json(inference.diffusion).dump();
  return metadata;
}

}  // namespace tiller
