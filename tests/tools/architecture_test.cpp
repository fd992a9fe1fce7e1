// Whether the command lines of guided-diffusion's README parse, and describe the networks they are
// for.
#include "tools/flags/architecture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/tools/readme_util.h"

namespace tiller {
namespace {

using testing::CommandLine;
using testing::readme;
using Numbers = std::vector<double>;
using Integers = std::vector<std::int64_t>;

Flags parse(std::string_view command, const std::vector<std::string>& arguments) {
  return Flags::parse(command_spec(command), arguments);
}

Flags parse(const CommandLine& line) { return parse(line.command(), line.arguments); }

// The command line of the README that loads `model`.
Flags of_model(const std::string& model) {
  for (const CommandLine& line : readme()) {
    const Flags flags = parse(line);
    if (flags.accepts("model_path") && flags.get<std::string>("model_path") == "models/" + model)
      return flags;
  }
  throw std::runtime_error(model + " is not in the README");
}

TEST(Readme, EveryCommandLineParses) {
  const std::vector<CommandLine> lines = readme();
  EXPECT_EQ(lines.size(), 12u);
  for (const CommandLine& line : lines) {
    SCOPED_TRACE(line.script + " " + line.arguments.front());
    const Flags flags = parse(line);
    std::size_t typed = 0;  // every flag of the line was understood as a flag, none as a value
    for (const std::string& argument : line.arguments) typed += argument.starts_with("--") ? 1 : 0;
    EXPECT_EQ(line.arguments.size(), 2 * typed);
    if (line.script == "classifier_train.py") {
      EXPECT_NO_THROW(classifier_config(flags));
      continue;
    }
    EXPECT_TRUE(flags.given("model_path") && flags.given("num_samples"));
    EXPECT_EQ(asks_super_resolution(flags), line.script == "super_res_sample.py");
    EXPECT_EQ(flags.accepts("base_samples"), line.script == "super_res_sample.py");
    EXPECT_NO_THROW(unet_config(flags));
    if (line.script == "classifier_sample.py") {
      EXPECT_TRUE(flags.given("classifier_path"));
      EXPECT_NO_THROW(classifier_config(flags));
    }
  }
}

TEST(Readme, ModelFlagsPasteIntoEveryCommandThatTakesANetwork) {
  for (const CommandLine& line : readme()) {
    if (line.script == "classifier_train.py") continue;
    const UNetConfig expected = unet_config(parse(line));
    std::vector<std::string> model_flags;  // what the README calls $MODEL_FLAGS
    for (std::size_t i = 0; i < line.arguments.size(); i += 2) {
      const FlagSpec* flag = find_flag(line.arguments[i].substr(2));
      ASSERT_NE(flag, nullptr);
      const bool model = flag->group == FlagGroup::model && flag->name != "model_path";
      if (model || flag->group == FlagGroup::diffusion)
        model_flags.insert(model_flags.end(), {line.arguments[i], line.arguments[i + 1]});
    }
    for (const char* command : {"train", "verify", "graph"})
      EXPECT_EQ(unet_config(parse(command, model_flags)), expected) << command;
    if (!expected.super_resolution) {
      EXPECT_EQ(unet_config(parse("nll", model_flags)), expected);
    }
    model_flags.push_back("model.pt");
    EXPECT_EQ(unet_config(parse("inspect", model_flags)), expected);
  }
}

TEST(Readme, Networks) {
  UNetConfig small;  // 64x64_diffusion
  small.image_size = 64;
  small.out_channels = 6;
  small.model_channels = 192;
  small.num_res_blocks = 3;
  small.attention_downsample = {2, 4, 8};
  small.channel_mult = {1, 2, 3, 4};
  small.num_head_channels = 64;
  small.num_classes = 1000;
  small.dropout = 0.1;
  small.resblock_updown = true;
  small.qkv_order = QkvOrder::split;
  small.torso = DType::f16;
  EXPECT_EQ(unet_config(of_model("64x64_diffusion.pt")), small);

  UNetConfig large;  // 512x512_diffusion
  large.image_size = 512;
  large.out_channels = 6;
  large.model_channels = 256;
  large.attention_downsample = {16, 32, 64};
  large.channel_mult = {0.5, 1, 1, 2, 2, 4, 4};
  large.num_head_channels = 64;
  large.num_classes = 1000;
  large.resblock_updown = true;
  EXPECT_EQ(unet_config(of_model("512x512_diffusion.pt")), large);

  UNetConfig upsampler;  // 128_512_upsampler
  upsampler.super_resolution = true;
  upsampler.image_size = 512;
  upsampler.out_channels = 6;
  upsampler.model_channels = 192;
  upsampler.attention_downsample = {16, 32};
  upsampler.channel_mult = {1, 1, 2, 2, 4, 4};
  upsampler.num_head_channels = 64;
  upsampler.num_classes = 1000;
  upsampler.resblock_updown = true;
  upsampler.torso = DType::f16;
  EXPECT_EQ(unet_config(of_model("128_512_upsampler.pt")), upsampler);

  const UNetConfig bedroom = unet_config(of_model("lsun_bedroom.pt"));
  EXPECT_EQ(bedroom.num_classes, 0);
  EXPECT_EQ(bedroom.dropout, 0.1);
  EXPECT_EQ(bedroom.channel_mult, (Numbers{1, 1, 2, 2, 4, 4}));
  EXPECT_EQ(unet_config(of_model("lsun_horse_nodropout.pt")).dropout, 0);
  const UNetConfig heads = unet_config(of_model("128x128_diffusion.pt"));
  EXPECT_EQ(heads.num_heads, 4);
  EXPECT_EQ(heads.num_head_channels, -1);
  EXPECT_EQ(heads.channel_mult, (Numbers{1, 1, 2, 3, 4}));
}

TEST(Readme, Classifiers) {
  ClassifierConfig expected;  // 64x64_classifier
  expected.image_size = 64;
  expected.num_res_blocks = 4;
  expected.attention_downsample = {2, 4, 8};
  expected.channel_mult = {1, 2, 3, 4};
  EXPECT_EQ(classifier_config(of_model("64x64_diffusion.pt")), expected);
  EXPECT_EQ(of_model("256x256_diffusion_uncond.pt").get<double>("classifier_scale"), 10.0);

  const std::vector<CommandLine> lines = readme();
  const auto training = std::find_if(lines.begin(), lines.end(), [](const CommandLine& line) {
    return line.script == "classifier_train.py";
  });
  ASSERT_NE(training, lines.end());
  const Flags flags = parse(*training);
  const ClassifierConfig config = classifier_config(flags);
  EXPECT_EQ(config.image_size, 128);
  EXPECT_EQ(config.num_res_blocks, 2);
  EXPECT_EQ(config.attention_downsample, (Integers{4, 8, 16}));
  EXPECT_EQ(config.channel_mult, (Numbers{1, 1, 2, 3, 4}));
  EXPECT_EQ(config.pool, Pool::attention);
  EXPECT_EQ(flags.get<double>("lr"), 3e-4);
  EXPECT_TRUE(flags.get<bool>("anneal_lr"));
  EXPECT_EQ(flags.get<int>("batch_size"), 256);
  EXPECT_EQ(flags.get<std::string>("data_dir"), "path/to/imagenet");

  const CommandLine& last = lines.back();  // gives --image_size twice
  EXPECT_EQ(std::count(last.arguments.begin(), last.arguments.end(), "--image_size"), 2);
  EXPECT_EQ(classifier_config(parse(last)).torso, DType::f16);
  EXPECT_EQ(parse(last).get<std::string>("timestep_respacing"), "ddim25");
  EXPECT_TRUE(parse(last).get<bool>("use_ddim"));
}

TEST(Architecture, SizesImplyLevelWidths) {
  EXPECT_EQ(implied_channel_mult(512), (Numbers{0.5, 1, 1, 2, 2, 4, 4}));
  EXPECT_EQ(implied_channel_mult(256), (Numbers{1, 1, 2, 2, 4, 4}));
  EXPECT_EQ(implied_channel_mult(128), (Numbers{1, 1, 2, 3, 4}));
  EXPECT_EQ(implied_channel_mult(64), (Numbers{1, 2, 3, 4}));
  EXPECT_EQ(implied_channel_mult_superres(512), (Numbers{1, 1, 2, 2, 4, 4}));
  EXPECT_EQ(implied_channel_mult_superres(256), (Numbers{1, 1, 2, 2, 4, 4}));
  EXPECT_EQ(implied_channel_mult_superres(64), (Numbers{1, 2, 3, 4}));
}

TEST(Architecture, OtherSizesNeedLevelWidths) {
  const auto expect_error = [](const auto& make, const std::vector<std::string>& parts) {
    try {
      make();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      for (const std::string& part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const Flags odd = parse("sample", {"--image_size", "96"});
  expect_error([&] { unet_config(odd); }, {"--image_size 96", "--channel_mult"});
  expect_error([&] { classifier_config(odd); }, {"--image_size 96", "--classifier_channel_mult"});
  const Flags large = parse("upsample", {"--large_size=128"});
  expect_error([&] { unet_config(large); }, {"--large_size 128", "--channel_mult"});
  const UNetConfig given =
      unet_config(parse("sample", {"--image_size", "96", "--channel_mult", "1,1.5,2"}));
  EXPECT_EQ(given.channel_mult, (Numbers{1, 1.5, 2}));
  EXPECT_EQ(given.attention_downsample, (Integers{6, 12}));
}

TEST(Architecture, TillersOwnFlags) {
  const Flags flags = parse("verify", {"--num_classes",
                                       "10",
                                       "--in_channels",
                                       "1",
                                       "--class_cond",
                                       "--learn_sigma",
                                       "--classifier_channel_mult",
                                       "1,2,2",
                                       "--classifier_num_head_channels",
                                       "32",
                                       "--classifier_pool",
                                       "spatial_v2",
                                       "--image_size",
                                       "16",
                                       "--channel_mult",
                                       "1,2",
                                       "--attention_resolutions",
                                       "8",
                                       "--classifier_attention_resolutions",
                                       "8,4"});
  const UNetConfig unet = unet_config(flags);
  EXPECT_EQ(unet.num_classes, 10);
  EXPECT_EQ(unet.in_channels, 1);
  EXPECT_EQ(unet.out_channels, 2);
  EXPECT_EQ(unet.attention_downsample, Integers{2});
  const ClassifierConfig classifier = classifier_config(flags);
  EXPECT_EQ(classifier.num_classes, 10);
  EXPECT_EQ(classifier.in_channels, 1);
  EXPECT_EQ(classifier.channel_mult, (Numbers{1, 2, 2}));
  EXPECT_EQ(classifier.num_head_channels, 32);
  EXPECT_EQ(classifier.pool, Pool::spatial_v2);
  EXPECT_EQ(classifier.attention_downsample, (Integers{2, 4}));
}

TEST(Architecture, SuperResolutionByItsSizes) {
  EXPECT_FALSE(asks_super_resolution(parse("verify", {})));
  EXPECT_TRUE(asks_super_resolution(parse("verify", {"--large_size", "64"})));
  EXPECT_TRUE(asks_super_resolution(parse("verify", {"--small_size", "16"})));
  const UNetConfig config =
      unet_config(parse("verify", {"--large_size", "64", "--channel_mult", "1,1,2"}));
  EXPECT_TRUE(config.super_resolution);
  EXPECT_EQ(config.image_size, 64);
  EXPECT_EQ(config.channel_mult, (Numbers{1, 1, 2}));
  EXPECT_EQ(config.in_channels, 3);
}

TEST(Architecture, GivenNetworkFlags) {
  const Flags flags = parse("verify", {"--image-size=64", "--use_fp16", "--learn_sigma", "false",
                                       "--device", "cpu", "--noise_schedule", "cosine"});
  EXPECT_EQ(given_network_flags(flags),
            (std::map<std::string, std::string>{
                {"image_size", "64"}, {"use_fp16", "True"}, {"learn_sigma", "False"}}));
}

// The flags with which the reference files' networks and the published ones were made.
TEST(Architecture, ReferenceCases) {
  const char* folder = std::getenv("TILLER_REFERENCE_DIR");
  if (folder == nullptr) GTEST_SKIP() << "TILLER_REFERENCE_DIR is not set";
  int cases = 0;
  for (const char* name : {"index.json", "published_checkpoints.json"}) {
    std::ifstream file(std::string(folder) + "/" + name);
    const nlohmann::json entries = nlohmann::json::parse(file);
    for (const auto& [key, entry] : entries.items()) {
      // Some cases call a constructor with its own arguments instead of flags.
      if (!entry.contains("flags") || entry["flags"].contains("model_channels")) continue;
      SCOPED_TRACE(key);
      std::vector<std::string> arguments;
      for (const auto& [flag, value] : entry["flags"].items())
        arguments.insert(arguments.end(), {"--" + flag, value.is_string() ? value.get<std::string>()
                                                                          : value.dump()});
      const Flags flags = parse("verify", arguments);
      if (entry["flags"].contains("classifier_width")) {
        EXPECT_NO_THROW(classifier_config(flags));
      } else {
        EXPECT_NO_THROW(unet_config(flags));
      }
      ++cases;
    }
  }
  EXPECT_GT(cases, 20);
}

}  // namespace
}  // namespace tiller
