// The sampling commands of guided-diffusion's README, run: each with its own flags, over networks
// that are built by these flags but for their sizes.
#include "nn/classifier.h"
#include "tests/tools/readme_util.h"
#include "tests/tools/sample_util.h"
#include "tools/flags/architecture.h"

namespace tiller::testing {
namespace {

using ::testing::HasSubstr;

// The last of a repeated flag counts, so these replace the sizes of the line before them.
Arguments small_sizes(const CommandLine& line) {
  Arguments flags = {"--num_channels",      "32",  "--num_res_blocks",        "1",
                     "--channel_mult",      "1,1", "--attention_resolutions", "4",
                     "--num_head_channels", "32",  "--num_samples",           "1"};
  if (line.command() == "upsample")
    return flags + Arguments{"--large_size", "8", "--small_size", "2"};
  flags = flags + Arguments{"--image_size", "8"};
  if (line.script == "classifier_sample.py")
    flags = flags + Arguments{"--classifier_width",
                              "32",
                              "--classifier_depth",
                              "1",
                              "--classifier_channel_mult",
                              "1,1",
                              "--classifier_attention_resolutions",
                              "4",
                              "--classifier_num_head_channels",
                              "32"};
  return flags;
}

void replace_value(Arguments& arguments, const std::string& flag, const std::string& value) {
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
    if (arguments[i] == flag) arguments[i + 1] = value;
}

TEST(Readme, EverySamplingCommandRuns) {
  int ran = 0;
  for (const CommandLine& line : readme()) {
    if (line.command() == "train-classifier") continue;
    SCOPED_TRACE(::testing::PrintToString(line.arguments));
    const TemporaryFolder folder;
    Arguments arguments = line.arguments + small_sizes(line);
    replace_value(arguments, "--model_path", folder / "model.pt");
    replace_value(arguments, "--classifier_path", folder / "classifier.pt");
    replace_value(arguments, "--base_samples", folder / "base.npz");
    const std::string command = line.command();
    const bool ddim = std::count(arguments.begin(), arguments.end(), "ddim25") > 0;
    if (!ddim) replace_value(arguments, "--timestep_respacing", "3");
    const Flags flags = Flags::parse(command_spec(command), arguments);
    const auto source = randomize_parameters(1);
    write_pt(folder / "model.pt", state_dict(UNet(unet_config(flags), *source).parameters()));
    if (line.script == "classifier_sample.py")
      write_pt(folder / "classifier.pt",
               state_dict(Classifier(classifier_config(flags), *source).parameters()));
    NpzWriter base(folder / "base.npz");
    base.write("arr_0", Tensor::zeros({1, 2, 2, 3}, DType::u8));
    base.write("arr_1", Tensor::zeros({1}, DType::i64));
    base.finish();

    const Ended ended = tiller_expect(
        0, Arguments{command} + arguments + Arguments{"--out", folder / "o", "--save", "npz"});
    const NpzReader npz = NpzReader::open(folder / "o/samples_1x8x8x3.npz");
    const bool labels = command == "upsample" || line.script == "classifier_sample.py" ||
                        flags.get<bool>("class_cond");
    EXPECT_EQ(npz.contains("arr_1"), labels);
    EXPECT_THAT(ended.err, HasSubstr(fmt::format("{} of 1000 steps, {} schedule",
                                                 ddim ? "DDIM with eta 0, 25" : "DDPM, 3",
                                                 flags.text("noise_schedule"))));
    ++ran;
  }
  EXPECT_EQ(ran, 11);
}

}  // namespace
}  // namespace tiller::testing
