// The architectures of the reference networks: four written out here, the others from the flags in
// the reference folder's index.json.
#include "nn/published.h"
#include "tests/nn/reference.h"

namespace tiller::test {
namespace {

using Json = nlohmann::json;

std::vector<std::int64_t> downsamples(const std::string& resolutions, std::int64_t size) {
  std::vector<std::int64_t> list;
  for (const double r : parse_numbers(resolutions, "attention_resolutions"))
    list.push_back(size / static_cast<std::int64_t>(r));
  return list;
}

// The level widths that OpenAI's scripts imply by the size.
std::vector<double> implied_mult(std::int64_t size, bool super_resolution) {
  if (size == 64) return {1, 2, 3, 4};
  if (size == 128) return {1, 1, 2, 3, 4};
  if (size == 256 || super_resolution) return {1, 1, 2, 2, 4, 4};
  EXPECT_EQ(size, 512);
  return {0.5, 1, 1, 2, 2, 4, 4};
}

UNetConfig unet_plain() {
  UNetConfig c;
  c.image_size = 16;
  c.model_channels = 32;
  c.num_res_blocks = 1;
  c.attention_downsample = {2};
  c.channel_mult = {1, 2};
  c.use_scale_shift_norm = false;
  return c;
}

UNetConfig unet_cond() {
  UNetConfig c;
  c.image_size = 16;
  c.out_channels = 6;
  c.model_channels = 32;
  c.num_res_blocks = 1;
  c.attention_downsample = {2, 4};
  c.channel_mult = {1, 1, 2};
  c.num_head_channels = 32;
  c.num_classes = 1000;
  c.resblock_updown = true;
  c.qkv_order = QkvOrder::split;
  return c;
}

// Made for pictures of 32x48 pixels and half a channel multiplier; its shapes say everything else.
UNetConfig unet_fraction() {
  UNetConfig c;
  c.image_size = 16;
  c.out_channels = 6;
  c.model_channels = 64;
  c.num_res_blocks = 1;
  c.attention_downsample = {2};
  c.channel_mult = {0.5, 1};
  c.num_head_channels = 32;
  c.num_classes = 12;
  c.resblock_updown = true;
  return c;
}

ClassifierConfig classifier_attention() {
  ClassifierConfig c;
  c.image_size = 16;
  c.num_classes = 10;
  c.model_channels = 32;
  c.num_res_blocks = 1;
  c.attention_downsample = {2, 4};
  c.channel_mult = {1, 2, 2};
  c.num_head_channels = 32;
  return c;
}

Case unet_case(const std::string& name, const std::string& checkpoint, const UNetConfig& config) {
  return {name, checkpoint, false, config, {}};
}

// A case by its entry in index.json.
Case indexed(const std::string& name, const std::string& checkpoint, const Json& entry) {
  const Json& flags = entry.at("flags");
  if (entry.at("kind") == "classifier") return {name, checkpoint, true, {}, classifier_of(flags)};
  return unet_case(name, checkpoint, unet_of(flags));
}

}  // namespace

UNetConfig unet_of(const Json& flags) {
  UNetConfig c;
  c.super_resolution = flags.contains("large_size");
  c.image_size = flags.at(c.super_resolution ? "large_size" : "image_size");
  c.out_channels = flags.at("learn_sigma") ? 6 : 3;
  c.model_channels = flags.at("num_channels");
  c.num_res_blocks = flags.at("num_res_blocks");
  c.attention_downsample = downsamples(flags.at("attention_resolutions"), c.image_size);
  const std::string mult = flags.value("channel_mult", "");
  c.channel_mult =
      mult.empty() ? implied_mult(c.image_size, c.super_resolution) : parse_numbers(mult, "");
  c.num_heads = flags.at("num_heads");
  c.num_head_channels = flags.at("num_head_channels");
  c.num_heads_upsample = flags.at("num_heads_upsample");
  c.num_classes = flags.at("class_cond") ? 1000 : 0;
  c.dropout = flags.at("dropout");
  c.use_scale_shift_norm = flags.at("use_scale_shift_norm");
  c.resblock_updown = flags.at("resblock_updown");
  const bool split = !c.super_resolution && flags.at("use_new_attention_order");
  c.qkv_order = split ? QkvOrder::split : QkvOrder::legacy;
  return c;
}

ClassifierConfig classifier_of(const Json& flags) {
  ClassifierConfig c;
  c.image_size = flags.at("image_size");
  if (flags.contains("classifier_width")) {
    c.model_channels = flags.at("classifier_width");
    c.num_res_blocks = flags.at("classifier_depth");
    c.attention_downsample =
        downsamples(flags.at("classifier_attention_resolutions"), c.image_size);
    c.channel_mult = implied_mult(c.image_size, false);
    c.use_scale_shift_norm = flags.at("classifier_use_scale_shift_norm");
    c.resblock_updown = flags.at("classifier_resblock_updown");
    c.pool = parse_pool(flags.at("classifier_pool"));
    return c;
  }
  c.in_channels = flags.at("in_channels");
  c.num_classes = flags.at("out_channels");
  c.model_channels = flags.at("model_channels");
  c.num_res_blocks = flags.at("num_res_blocks");
  c.attention_downsample = flags.at("attention_resolutions").get<std::vector<std::int64_t>>();
  c.channel_mult = flags.at("channel_mult").get<std::vector<double>>();
  c.num_head_channels = flags.at("num_head_channels");
  c.use_scale_shift_norm = flags.at("use_scale_shift_norm");
  c.resblock_updown = flags.at("resblock_updown");
  c.pool = parse_pool(flags.at("pool"));
  return c;
}

std::optional<Case> find_case(const std::string& name) {
  if (name == "unet_plain") return unet_case(name, "unet_plain.pt", unet_plain());
  if (name == "unet_cond") return unet_case(name, "unet_cond.pt", unet_cond());
  if (name == "classifier_attention")
    return Case{name, "classifier_attention.pt", true, {}, classifier_attention()};
  const auto index = find_reference("index.json");
  if (!index) return {};
  if (name == "unet_fraction") return unet_case(name, "unet_fraction.pt", unet_fraction());
  // superres_odd holds other pictures for the same network.
  const std::string model = name == "superres_odd" ? "superres_64" : name;
  return indexed(name, model + ".pt", read_json_file(*index).at(model));
}

TEST(Reference, TheConfigurationsWrittenHereAreThoseOfTheIndex) {
  const auto index = find_reference("index.json");
  if (!index) GTEST_SKIP() << kNoReference;
  const Json json = read_json_file(*index);
  EXPECT_EQ(indexed("", "", json.at("unet_plain")).unet, unet_plain());
  EXPECT_EQ(indexed("", "", json.at("unet_cond")).unet, unet_cond());
  EXPECT_EQ(indexed("", "", json.at("classifier_attention")).classifier, classifier_attention());
}

// So that a reference network that is added to the folder does not go untested.
TEST(Reference, EveryNetworkOfTheIndexIsTested) {
  const auto index = find_reference("index.json");
  if (!index) GTEST_SKIP() << kNoReference;
  std::set<std::string> networks;
  const Json json = read_json_file(*index);
  for (const auto& [name, entry] : json.items())
    for (const char* kind : {"unet", "classifier", "superres", "half"})
      if (entry.at("kind") == kind) networks.insert(name);
  EXPECT_EQ(networks,
            (std::set<std::string>{
                "unet_plain", "unet_cond", "unet_64", "unet_heads_up", "superres_64",
                "classifier_64", "classifier_adaptive", "classifier_attention",
                "classifier_spatial", "classifier_spatial_v2", "unet_plain.fp16", "unet_cond.fp16",
                "unet_64.fp16", "classifier_64.fp16", "classifier_attention.fp16"}));
}

}  // namespace tiller::test
