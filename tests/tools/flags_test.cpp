#include "tools/flags/flags.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

namespace tiller {
namespace {

Flags parse(std::string_view command, const std::vector<std::string>& arguments) {
  return Flags::parse(command_spec(command), arguments);
}

// The message of the usage error that parsing ends in.
std::string usage_error(std::string_view command, const std::vector<std::string>& arguments) {
  try {
    parse(command, arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
}

TEST(Flags, DefaultsAreGuidedDiffusions) {
  const Flags flags = parse("sample", {});
  const std::pair<const char*, const char*> expected[] = {
      // model_and_diffusion_defaults
      {"image_size", "64"},
      {"num_channels", "128"},
      {"num_res_blocks", "2"},
      {"num_heads", "4"},
      {"num_heads_upsample", "-1"},
      {"num_head_channels", "-1"},
      {"attention_resolutions", "16,8"},
      {"channel_mult", ""},
      {"dropout", "0"},
      {"class_cond", "False"},
      {"use_checkpoint", "False"},
      {"use_scale_shift_norm", "True"},
      {"resblock_updown", "False"},
      {"use_fp16", "False"},
      {"use_new_attention_order", "False"},
      {"learn_sigma", "False"},
      {"diffusion_steps", "1000"},
      {"noise_schedule", "linear"},
      {"timestep_respacing", ""},
      {"use_kl", "False"},
      {"predict_xstart", "False"},
      {"rescale_timesteps", "False"},
      {"rescale_learned_sigmas", "False"},
      // classifier_defaults
      {"classifier_use_fp16", "False"},
      {"classifier_width", "128"},
      {"classifier_depth", "2"},
      {"classifier_attention_resolutions", "32,16,8"},
      {"classifier_use_scale_shift_norm", "True"},
      {"classifier_resblock_updown", "True"},
      {"classifier_pool", "attention"},
      // classifier_sample.py
      {"clip_denoised", "True"},
      {"num_samples", "16"},  // the scripts' 10000 are for computing an FID
      {"batch_size", "16"},
      {"use_ddim", "False"},
      {"model_path", ""},
      {"classifier_path", ""},
      {"classifier_scale", "1"},
      // Tiller's own
      {"num_classes", "1000"},
      {"in_channels", "3"},
      {"classifier_channel_mult", ""},
      {"classifier_num_head_channels", "64"},
      {"sigma_small", "False"},
  };
  for (const auto& [name, value] : expected) {
    EXPECT_EQ(flags.text(name), value) << name;
    EXPECT_FALSE(flags.given(name)) << name;
  }
}

TEST(Flags, DefaultsThatTheScriptsDisagreeOn) {
  EXPECT_EQ(parse("train", {}).get<int>("batch_size"), 1);
  EXPECT_EQ(parse("train", {}).get<double>("lr"), 1e-4);
  EXPECT_EQ(parse("train", {}).list<double>("ema_rate"), std::vector<double>{0.9999});
  EXPECT_EQ(parse("train-classifier", {}).get<int>("batch_size"), 4);
  EXPECT_EQ(parse("train-classifier", {}).get<double>("lr"), 3e-4);
  EXPECT_EQ(parse("train-classifier", {}).get<int>("iterations"), 150000);
  EXPECT_EQ(parse("nll", {}).get<int>("num_samples"), 1000);
  EXPECT_EQ(parse("nll", {}).get<int>("batch_size"), 1);
  EXPECT_EQ(parse("upsample", {}).get<int>("large_size"), 256);
  EXPECT_EQ(parse("upsample", {}).get<int>("small_size"), 64);
  EXPECT_FALSE(parse("upsample", {}).accepts("image_size"));
}

TEST(Flags, Spellings) {
  const std::vector<std::vector<std::string>> spellings = {
      {"--image_size", "96"}, {"--image-size", "96"}, {"--image_size=96"}, {"--image-size=96"}};
  for (const std::vector<std::string>& arguments : spellings) {
    const Flags flags = parse("sample", arguments);
    EXPECT_EQ(flags.get<int>("image_size"), 96);
    EXPECT_TRUE(flags.given("image_size"));
    EXPECT_FALSE(flags.given("num_channels"));
  }
}

TEST(Flags, Booleans) {
  for (const char* yes : {"yes", "true", "t", "y", "1", "True", "TRUE", "Yes", "Y"}) {
    EXPECT_TRUE(parse("sample", {"--use_fp16", yes}).get<bool>("use_fp16")) << yes;
    EXPECT_TRUE(parse("sample", {std::string("--use-fp16=") + yes}).get<bool>("use_fp16")) << yes;
  }
  for (const char* no : {"no", "false", "f", "n", "0", "False", "NO"}) {
    EXPECT_FALSE(parse("sample", {"--clip_denoised", no}).get<bool>("clip_denoised")) << no;
    EXPECT_TRUE(parse("sample", {"--clip_denoised", no}).given("clip_denoised")) << no;
  }
}

TEST(Flags, BareBooleans) {
  const Flags flags = parse("sample", {"--use_fp16", "--image_size", "128", "--use-ddim"});
  EXPECT_TRUE(flags.get<bool>("use_fp16"));
  EXPECT_TRUE(flags.get<bool>("use_ddim"));
  EXPECT_EQ(flags.get<int>("image_size"), 128);
  // In front of an argument; a word that is a boolean belongs to the flag.
  const Flags inspect = parse("inspect", {"--json", "model.pt"});
  EXPECT_TRUE(inspect.get<bool>("json"));
  EXPECT_EQ(inspect.argument("FILE"), "model.pt");
  EXPECT_FALSE(parse("inspect", {"--json", "no", "model.pt"}).get<bool>("json"));
  EXPECT_FALSE(parse("inspect", {"model.pt", "--json", "no"}).get<bool>("json"));
}

TEST(Flags, TheLastOfARepeatedFlagCounts) {
  const Flags flags =
      parse("sample", {"--image_size", "128", "--use_fp16", "--image-size=64", "--use_fp16", "no"});
  EXPECT_EQ(flags.get<int>("image_size"), 64);
  EXPECT_FALSE(flags.get<bool>("use_fp16"));
}

TEST(Flags, MinusOneAndNothingAreValues) {
  const Flags flags = parse("train", {"--num_head_channels", "-1", "--channel_mult", "",
                                      "--timestep_respacing=", "--microbatch", "-1"});
  EXPECT_EQ(flags.get<int>("num_head_channels"), -1);
  EXPECT_TRUE(flags.given("num_head_channels"));
  EXPECT_TRUE(flags.list<double>("channel_mult").empty());
  EXPECT_TRUE(flags.given("channel_mult"));
  EXPECT_EQ(flags.get<std::string>("timestep_respacing"), "");
  EXPECT_EQ(flags.get<int>("microbatch"), -1);
  EXPECT_EQ(parse("sample", {"--classifier_scale", "-2.5"}).get<double>("classifier_scale"), -2.5);
}

TEST(Flags, NumbersAndLists) {
  const Flags flags = parse("sample", {"--channel_mult", "0.5,1, 1,2", "--attention_resolutions=32",
                                       "--dropout", "1e-1", "--seed", "9223372036854775807"});
  EXPECT_EQ(flags.list<double>("channel_mult"), (std::vector<double>{0.5, 1, 1, 2}));
  EXPECT_EQ(flags.text("channel_mult"), "0.5,1,1,2");
  EXPECT_EQ(flags.list<int>("attention_resolutions"), std::vector<int>{32});
  EXPECT_EQ(flags.get<float>("dropout"), 0.1f);
  EXPECT_EQ(flags.get<std::uint64_t>("seed"), 9223372036854775807u);
  EXPECT_THROW(flags.get<int>("seed"), Error);
}

TEST(Flags, Arguments) {
  const Flags flags = parse("convert", {"a.pt", "--dtype", "f16", "b.safetensors"});
  EXPECT_EQ(flags.argument("IN"), "a.pt");
  EXPECT_EQ(flags.argument("OUT"), "b.safetensors");
  EXPECT_EQ(flags.get<std::string>("dtype"), "f16");
  EXPECT_EQ(parse("inspect", {"--", "--odd-name.pt"}).argument("FILE"), "--odd-name.pt");
  EXPECT_EQ(parse("gradcheck", {}).argument("OP"), "");
  expect_parts(usage_error("inspect", {}), {"inspect", "FILE is missing"});
  expect_parts(usage_error("convert", {"a.pt"}), {"OUT is missing"});
  expect_parts(usage_error("convert", {"a", "b", "c"}), {"unexpected argument 'c'"});
  expect_parts(usage_error("sample", {"64"}), {"unexpected argument '64'", "tiller sample --help"});
}

TEST(Flags, UnknownFlagsNameTheNearest) {
  expect_parts(usage_error("sample", {"--imge_size", "64"}),
               {"unknown flag --imge_size", "did you mean --image_size?"});
  expect_parts(usage_error("sample", {"--num-channel=3"}), {"--num-channel", "--num_channels?"});
  expect_parts(usage_error("sample", {"--model", "x"}), {"--model_path?"});
  expect_parts(usage_error("sample", {"--cilp_denoised"}), {"--clip_denoised?"});
  expect_parts(usage_error("upsample", {"--image_size", "64"}),
               {"upsample: unknown flag --image_size", "a flag of sample", "--large_size?"});
  const std::string far = usage_error("devices", {"--quantize"});
  expect_parts(far, {"--quantize", "tiller devices --help"});
  EXPECT_EQ(far.find("did you mean"), std::string::npos) << far;
  expect_parts(usage_error("sample", {"-j"}), {"'-j'", "two dashes"});
  expect_parts(usage_error("sample", {"--=4"}), {"unknown flag"});
}

TEST(Flags, BadValuesNameFlagValueAndWhatIsAllowed) {
  expect_parts(usage_error("sample", {"--image_size", "big"}),
               {"--image_size", "'big'", "an integer of at least 1"});
  expect_parts(usage_error("sample", {"--image_size", "64.5"}), {"'64.5'"});
  expect_parts(usage_error("sample", {"--image_size", "64px"}), {"'64px'"});
  expect_parts(usage_error("sample", {"--image_size", ""}), {"--image_size", "''"});
  expect_parts(usage_error("sample", {"--image_size", "0"}), {"'0'", "at least 1"});
  expect_parts(usage_error("sample", {"--image_size", "99999999999999999999"}), {"--image_size"});
  expect_parts(usage_error("sample", {"--num_head_channels", "-2"}), {"'-2'", "or -1"});
  expect_parts(usage_error("sample", {"--dropout", "1.5"}), {"'1.5'", "a number from 0 to 1"});
  expect_parts(usage_error("sample", {"--dropout", "nan"}), {"'nan'"});
  expect_parts(usage_error("sample", {"--use_fp16", "maybe"}),
               {"--use_fp16", "'maybe'", "yes, true"});
  expect_parts(usage_error("sample", {"--use_fp16="}), {"--use_fp16", "''"});
  expect_parts(usage_error("sample", {"--noise_schedule", "cosin"}), {"'cosin'", "linear, cosine"});
  expect_parts(usage_error("sample", {"--noise_schedule", "linear|cosine"}), {"one of"});
  expect_parts(usage_error("sample", {"--noise_schedule", ""}), {"--noise_schedule", "''"});
  expect_parts(usage_error("sample", {"--attention_resolutions", "32,,8"}), {"'32,,8'", "commas"});
  expect_parts(usage_error("sample", {"--attention_resolutions", "32,0"}),
               {"'32,0'", "at least 1"});
  expect_parts(usage_error("sample", {"--channel_mult", "1,2,"}), {"'1,2,'"});
}

TEST(Flags, MissingValues) {
  expect_parts(usage_error("sample", {"--image_size"}), {"--image_size needs a value", "integer"});
  expect_parts(usage_error("sample", {"--model_path", "--use_fp16"}),
               {"--model_path needs a value"});
}

TEST(Flags, QuestionsThatAreMistakesInTheProgram) {
  const Flags flags = parse("sample", {});
  EXPECT_THROW(flags.get<int>("large_size"), Error);
  EXPECT_THROW(flags.get<int>("model_path"), Error);
  EXPECT_THROW(flags.list<int>("image_size"), Error);
  EXPECT_THROW(flags.argument("FILE"), Error);
}

TEST(Flags, GivenTexts) {
  const Flags flags =
      parse("verify", {"--class-cond", "--num_channels=32", "--reference", "r.npz"});
  EXPECT_EQ(flags.given_texts(network_flags()),
            (std::map<std::string, std::string>{{"class_cond", "True"}, {"num_channels", "32"}}));
  EXPECT_EQ(flags.texts().at("reference"), "r.npz");
  EXPECT_EQ(flags.texts().size(), flags.command().flags.size());
}

TEST(Flags, Commands) {
  EXPECT_EQ(command_spec("verify").name, "verify");
  try {
    command_spec("verfy");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 2);
    expect_parts(error.what(), {"'verfy'", "did you mean verify?"});
  }
}

TEST(Flags, TablesAreConsistent) {
  std::set<std::string_view> names;
  for (const FlagSpec& flag : flag_table()) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    EXPECT_FALSE(flag.help.empty()) << flag.name;
    EXPECT_EQ(flag.name.find('-'), std::string_view::npos) << flag.name;
  }
  std::set<std::string_view> used;
  for (const CommandSpec& command : command_specs()) {
    std::set<std::string_view> own;
    for (const std::string_view flag : command.flags) {
      EXPECT_TRUE(own.insert(flag).second) << command.name << " " << flag;
      EXPECT_NE(find_flag(flag), nullptr) << command.name << " " << flag;
    }
    for (const auto& [flag, value] : command.fallbacks) EXPECT_TRUE(own.contains(flag)) << flag;
    used.insert(own.begin(), own.end());
    EXPECT_NO_THROW(Flags::parse(command, {"--help"})) << command.name;  // its defaults are read
  }
  EXPECT_EQ(used, names) << "a flag that no command takes";
}

TEST(Flags, Help) {
  EXPECT_TRUE(parse("sample", {"--help"}).help());
  EXPECT_TRUE(parse("convert", {"-h"}).help());  // nothing is missing then
  for (const CommandSpec& command : command_specs()) {
    const std::string text = help_text(command);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
    for (const std::string_view flag : command.flags)
      EXPECT_NE(text.find("--" + std::string(flag) + " "), std::string::npos) << flag;
    for (const ArgumentSpec& argument : command.arguments)
      EXPECT_NE(text.find(std::string(argument.name)), std::string::npos) << argument.name;
  }
  expect_parts(help_text(command_spec("train-classifier")),
               {"Usage: tiller train-classifier [flags]", "\nClassifier:\n", "[3e-4]", "adaptive,",
                "attention, spatial, spatial_v2 [attention]"});
  expect_parts(help_text(command_spec("convert")), {"Usage: tiller convert IN OUT [flags]"});
  expect_parts(help_text(command_spec("gradcheck")), {"Usage: tiller gradcheck [OP] [flags]"});
}

}  // namespace
}  // namespace tiller
