#include "nn/anatomy.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "nn/torso.h"
#include "runtime/error.h"

namespace tiller {

namespace {
using Dims = std::vector<std::int64_t>;

[[noreturn]] void not_ours(const std::string& why) {
  fail(ErrorKind::checkpoint, fmt::format("this is no network of guided-diffusion: {}", why));
}

class Reader {
 public:
  explicit Reader(const std::vector<NamedShape>& tensors) {
    for (const NamedShape& tensor : tensors) shapes_.emplace(tensor.name, tensor.shape);
  }
  const Dims* find(const std::string& key) const {
    const auto found = shapes_.find(key);
    return found == shapes_.end() ? nullptr : &found->second;
  }
  // A tensor that every such network has, of the given rank.
  const Dims& need(const std::string& key, std::size_t rank) const {
    const Dims* dims = find(key);
    if (!dims) not_ours(fmt::format("it has no {}", key));
    if (dims->size() != rank ||
        std::any_of(dims->begin(), dims->end(), [](auto d) { return d < 1; }))
      not_ours(fmt::format("{} has the shape {}, expected {} dimensions", key,
                           to_string(std::span<const std::int64_t>(*dims)), rank));
    return *dims;
  }
  // One more than the highest i of "<list>.<i>.".
  std::int64_t count(const std::string& list) const {
    std::int64_t count = 0;
    const std::string prefix = list + ".";
    for (auto it = shapes_.lower_bound(prefix);
         it != shapes_.end() && it->first.starts_with(prefix); ++it) {
      std::int64_t i = 0;
      std::size_t at = prefix.size();
      for (; at < it->first.size() && std::isdigit(static_cast<unsigned char>(it->first[at])); ++at)
        if (i < (1 << 20)) i = 10 * i + (it->first[at] - '0');
      if (at > prefix.size()) count = std::max(count, i + 1);
    }
    if (count > 4096) not_ours(fmt::format("it has {} {}", count, list));
    return count;
  }

 private:
  std::map<std::string, Dims> shapes_;
};

enum class Kind : std::uint8_t { residual, convolution, nothing };

struct InputBlock {
  Kind kind = Kind::nothing;
  std::int64_t channels = 0;  // of its output, where it tells
  bool attention = false;
  bool widens = false;  // has a skip_connection
};

std::vector<InputBlock> read_input_blocks(const Reader& file) {
  std::vector<InputBlock> blocks;
  const std::int64_t count = file.count("input_blocks");
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string at = fmt::format("input_blocks.{}.", i);
    InputBlock block;
    if (i == 0) {
      block.kind = Kind::convolution;
      block.channels = file.need(at + "0.weight", 4)[0];
    } else if (file.find(at + "0.op.weight")) {
      block.kind = Kind::convolution;
      block.channels = file.need(at + "0.op.weight", 4)[0];
    } else if (file.find(at + "0.in_layers.2.weight")) {
      block.kind = Kind::residual;
      block.channels = file.need(at + "0.in_layers.2.weight", 4)[0];
      block.attention = file.find(at + "1.qkv.weight") != nullptr;
      block.widens = file.find(at + "0.skip_connection.weight") != nullptr;
    }
    blocks.push_back(block);
  }
  return blocks;
}

// Whether the blocks can be levels of `depth` residual blocks, each but the last followed by a
// block that only changes the resolution.
bool plausible(const std::vector<InputBlock>& blocks, std::int64_t depth) {
  const auto count = static_cast<std::int64_t>(blocks.size());
  if (count % (depth + 1) != 0) return false;
  for (std::int64_t i = 1; i < count; ++i) {
    const InputBlock& block = blocks[static_cast<std::size_t>(i)];
    const InputBlock& before = blocks[static_cast<std::size_t>(i - 1)];
    const bool first_of_level = i % (depth + 1) == 1 || depth == 0;
    if (i % (depth + 1) == 0) {
      if (block.attention || block.widens) return false;
    } else {
      if (block.kind != Kind::residual) return false;
      if (block.widens && !first_of_level) return false;
      if (!first_of_level && block.attention != before.attention) return false;
    }
  }
  return true;
}

// The number of residual blocks per level: from the decoder's up-sampling blocks or the
// down-sampling convolutions, or else by trying.
std::int64_t read_depth(const Reader& file, const std::vector<InputBlock>& blocks, bool classifier,
                        std::optional<std::int64_t> hint) {
  const auto count = static_cast<std::int64_t>(blocks.size());
  for (std::int64_t i = 1; i < count; ++i)
    if (blocks[static_cast<std::size_t>(i)].kind != Kind::residual) return i - 1;
  if (!classifier) {
    const std::int64_t outputs = file.count("output_blocks");
    for (std::int64_t i = 0; i < outputs; ++i) {
      const std::string at = fmt::format("output_blocks.{}.", i);
      if (file.find(at + "1.in_layers.2.weight") || file.find(at + "2.in_layers.2.weight"))
        return i;
    }
    return count - 1;  // a decoder without up-sampling: one level
  }
  if (hint && *hint > 0 && plausible(blocks, *hint)) return *hint;
  std::vector<std::int64_t> depths;
  for (std::int64_t depth = 1; depth < count; ++depth)
    if (plausible(blocks, depth)) depths.push_back(depth);
  if (depths.size() == 1) return depths.front();
  if (depths.empty()) not_ours("its input_blocks are no levels of residual blocks");
  fail(ErrorKind::usage,
       fmt::format("the checkpoint's shapes allow {} residual blocks per level: say which with "
                   "--classifier_depth",
                   join(depths)));
}

void read_pool(const Reader& file, Anatomy& a) {
  if (const Dims* pos = file.find("out.2.positional_embedding")) {
    a.pool = Pool::attention;
    if (pos->size() != 2) not_ours("out.2.positional_embedding is no matrix");
    a.positions = (*pos)[1] - 1;
    a.num_classes = file.need("out.2.c_proj.weight", 3)[0];
  } else if (const Dims* first = file.find("out.0.weight"); first && first->size() == 1) {
    a.pool = Pool::adaptive;
    a.num_classes = file.need("out.3.weight", 4)[0];
  } else if (file.find("out.3.weight")) {
    a.pool = Pool::spatial_v2;
    a.num_classes = file.need("out.3.weight", 2)[0];
  } else {
    a.pool = Pool::spatial;
    a.num_classes = file.need("out.2.weight", 2)[0];
  }
}

// The smallest change to channels / model_channels for which int(mult * model_channels) ==
// channels.
double multiplier(std::int64_t channels, std::int64_t model_channels) {
  double mult = static_cast<double>(channels) / static_cast<double>(model_channels);
  while (level_channels(mult, model_channels) < channels) mult = std::nextafter(mult, 1e9);
  return mult;
}

template <class T>
std::string join_values(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) text += fmt::format("{}{}", text.empty() ? "" : ",", value);
  return text;
}
}  // namespace

std::string join(const std::vector<double>& values) { return join_values(values); }
std::string join(const std::vector<std::int64_t>& values) { return join_values(values); }

std::vector<double> Anatomy::channel_mult() const {
  std::vector<double> mult;
  for (const std::int64_t channels : level_channels)
    mult.push_back(multiplier(channels, model_channels));
  return mult;
}

Anatomy read_anatomy(const std::vector<NamedShape>& tensors,
                     std::optional<std::int64_t> num_res_blocks) {
  if (const std::string family = foreign_family(tensors); !family.empty()) not_ours(family);
  const Reader file(tensors);
  Anatomy a;
  a.model_channels = file.need("time_embed.0.weight", 2)[1];
  a.in_channels = file.need("input_blocks.0.0.weight", 4)[1];
  a.classifier = file.count("output_blocks") == 0;
  if (a.classifier) {
    read_pool(file, a);
  } else {
    a.out_channels = file.need("out.2.weight", 4)[0];
    if (const Dims* labels = file.find("label_emb.weight"); labels && !labels->empty())
      a.num_classes = (*labels)[0];
  }
  const std::vector<InputBlock> blocks = read_input_blocks(file);
  if (blocks.size() < 2) not_ours("it has no input_blocks.1");
  const std::int64_t depth = read_depth(file, blocks, a.classifier, num_res_blocks);
  if (depth < 1 || !plausible(blocks, depth))
    not_ours(fmt::format("its {} input_blocks are no levels of {} residual blocks", blocks.size(),
                         depth));
  a.num_res_blocks = depth;
  const std::int64_t levels = static_cast<std::int64_t>(blocks.size()) / (depth + 1);
  if (levels > 16) not_ours(fmt::format("it has {} levels", levels));
  for (std::int64_t level = 0; level < levels; ++level) {
    const InputBlock& first = blocks[static_cast<std::size_t>(level * (depth + 1) + 1)];
    a.level_channels.push_back(first.channels);
    if (first.attention) a.attention_downsample.push_back(std::int64_t{1} << level);
  }
  if (levels > 1) {
    const Kind change = blocks[static_cast<std::size_t>(depth + 1)].kind;
    a.updown = change == Kind::residual;
    a.conv_resample = change != Kind::nothing;
  }
  const Dims& emb = file.need("input_blocks.1.0.emb_layers.1.weight", 2);
  a.scale_shift = emb[0] == 2 * blocks[1].channels;
  return a;
}

std::string foreign_family(const std::vector<NamedShape>& tensors) {
  std::set<std::string> names;
  for (const NamedShape& tensor : tensors) names.insert(tensor.name);
  // Whether a tensor's name starts with (or, after any wrapper's prefix, has) this.
  const auto has = [&](const char* part) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return name.find(part) != std::string::npos;
    });
  };
  if (names.contains("time_embed.0.weight") && names.contains("input_blocks.0.0.weight")) {
    for (const NamedShape& tensor : tensors)
      if (tensor.name.ends_with(".qkv.weight") && tensor.shape.size() == 4)
        return "its qkv weights have four dimensions, as those of consistency_models";
    if (has("encoder_kv")) return "it has encoder_kv layers, as GLIDE does";
    if (has("attn1.to_q")) return "it has cross-attention layers, as latent diffusion does";
    return {};
  }
  if (has("exp_avg"))
    return "it looks like an optimizer's state; the weights lie beside it (model*.pt)";
  if (has("map_layer0.") || has("enc.64x64_")) return "it looks like a network of NVlabs' EDM";
  if (has("down_blocks.") && has("conv_in."))
    return "it looks like a network of Hugging Face's diffusers";
  if (has("model.diffusion_model.") || has("first_stage_model."))
    return "it looks like a latent diffusion (Stable Diffusion) checkpoint";
  if (has("time_embedding.blocks.") || has("in_blocks."))
    return "it looks like a network of mmagic";
  if (has("downs.") && has("ups.")) return "it looks like a network of denoising-diffusion-pytorch";
  if (has("blocks.0.attn") || has("x_embedder.")) return "it looks like a transformer (DiT)";
  if (has("Mixed_5b")) return "it looks like an Inception network (for FID)";
  if (has("visual.") && has("transformer.")) return "it looks like CLIP";
  std::string some;
  for (std::size_t i = 0; i < tensors.size() && i < 3; ++i)
    some += fmt::format("{}{}", i ? ", " : "", tensors[i].name);
  if (some.empty()) return "the file holds no tensors";
  return fmt::format(
      "it has no time_embed.0.weight and input_blocks.0.0.weight; its {} tensors start "
      "with {}",
      tensors.size(), some);
}

std::vector<std::string> flag_differences(const Anatomy& network, const Anatomy& file) {
  std::vector<std::string> lines;
  if (network.classifier != file.classifier)
    return {fmt::format(
        "the file is a {}, the network asked for a {} (--model_path takes UNets, "
        "--classifier_path classifiers)",
        file.classifier ? "classifier" : "UNet", network.classifier ? "classifier" : "UNet")};
  const bool c = network.classifier;
  const auto differ = [&](const char* flag, const auto& ours, const auto& theirs) {
    if (ours != theirs)
      lines.push_back(fmt::format("{} {} (the network has {})", flag, theirs, ours));
  };
  differ(c ? "--classifier_width" : "--num_channels", network.model_channels, file.model_channels);
  differ(c ? "--classifier_depth" : "--num_res_blocks", network.num_res_blocks,
         file.num_res_blocks);
  differ(c ? "--classifier_channel_mult" : "--channel_mult", join(network.channel_mult()),
         join(file.channel_mult()));
  const auto levels = [](const Anatomy& a) {
    std::string text;
    for (const std::int64_t ds : a.attention_downsample)
      text += fmt::format("{}1/{}", text.empty() ? "" : ", ", ds);
    return text.empty() ? std::string("none") : text;
  };
  if (network.attention_downsample != file.attention_downsample)
    lines.push_back(
        fmt::format("{}attention_resolutions: attention at {} of the picture's side (the "
                    "network has {})",
                    c ? "--classifier_" : "--", levels(file), levels(network)));
  const auto text = [](bool value) { return std::string(value ? "True" : "False"); };
  differ(c ? "--classifier_resblock_updown" : "--resblock_updown", text(network.updown),
         text(file.updown));
  differ(c ? "--classifier_use_scale_shift_norm" : "--use_scale_shift_norm",
         text(network.scale_shift), text(file.scale_shift));
  if (c) {
    differ("--classifier_pool", std::string(name(network.pool)), std::string(name(file.pool)));
    differ("--num_classes", network.num_classes, file.num_classes);
    if (network.pool == file.pool && network.positions != file.positions) {
      const auto side = [](const Anatomy& a) {
        return std::llround(std::sqrt(static_cast<double>(a.positions))) * a.stride();
      };
      differ("--image_size", side(network), side(file));
    }
    differ("--in_channels", network.in_channels, file.in_channels);
    return lines;
  }
  differ("--class_cond", text(network.num_classes > 0), text(file.num_classes > 0));
  if (network.num_classes > 0 && file.num_classes > 0)
    differ("--num_classes", network.num_classes, file.num_classes);
  if (network.in_channels != file.in_channels) {
    if (file.in_channels == 2 * network.in_channels)
      lines.push_back(
          "--large_size and --small_size: the file is a super-resolution network, it sees "
          "the low-resolution picture beside x");
    else if (network.in_channels == 2 * file.in_channels)
      lines.push_back(
          "without --large_size and --small_size: the file is no super-resolution network");
    else
      differ("--in_channels", network.in_channels, file.in_channels);
  } else if (network.out_channels != file.out_channels) {
    differ("--learn_sigma", text(network.out_channels > file.out_channels),
           text(file.out_channels > network.out_channels));
  }
  return lines;
}

}  // namespace tiller
