// tiller sample through the real program: its numbers against PyTorch's, and its files.
#include "tests/tools/sample_util.h"

namespace tiller::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Trajectory {
  const char* file;
  Arguments flags;
};

class SampleTrajectory : public ::testing::TestWithParam<Trajectory> {};

// Ten guided steps from PyTorch's noise end in PyTorch's pictures, whatever wrote them.
TEST_P(SampleTrajectory, EndsInPyTorchsPictures) {
  const TemporaryFolder folder;
  const std::string reference = data_file(GetParam().file);
  tiller_expect(0, Arguments{"sample", "--noise", reference, "--classes", "7,4", "--out",
                             folder / "o", "--classifier_scale", "100"} +
                       guided_pair() + GetParam().flags);
  const Tensor theirs = NpzReader::open(reference).read("images");
  const NpzReader ours = NpzReader::open(folder / "o/samples_2x16x16x3.npz");
  expect_same_pictures(ours.read("arr_0"), theirs);
  EXPECT_THAT(ours.read("arr_1").to_vector<std::int64_t>(), ElementsAre(7, 4));
  const auto png = read_image(folder / "o/000001_c4.png");
  EXPECT_EQ(png.to_vector<std::uint8_t>(),
            ours.read("arr_0").slice(1, 2).to_vector<std::uint8_t>());

  // The second sample alone takes the second sample's noise.
  tiller_expect(0, Arguments{"sample", "--noise", reference, "--classes", "4", "--first_index", "1",
                             "--save", "png", "--out", folder / "p", "--classifier_scale", "100"} +
                       guided_pair() + GetParam().flags);
  EXPECT_EQ(sample_pixels(folder / "p").at("000001_c4.png"), png.to_vector<std::uint8_t>());
}

INSTANTIATE_TEST_SUITE_P(
    Sample, SampleTrajectory,
    ::testing::Values(Trajectory{"sample_small_ddpm_guided.npz", {"--timestep_respacing", "10"}},
                      Trajectory{"sample_small_ddim_guided.npz",
                                 {"--timestep_respacing", "ddim10", "--use_ddim", "True"}},
                      Trajectory{"sample_small_ddim_eta.npz",
                                 {"--timestep_respacing", "ddim10", "--use_ddim", "True", "--eta",
                                  "0.5"}}),
    [](const auto& info) {
      const std::string name = info.param.file;
      return name.substr(0, name.find('.'));
    });

TEST(Sample, WritesEveryFileAndSaysWhatItDoes) {
  const TemporaryFolder folder;
  const Ended ended =
      tiller_expect(0, Arguments{"sample", "--num_samples", "3", "--batch_size", "2",
                                 "--timestep_respacing", "2", "--preview_every", "1", "--classes",
                                 "2,5", "--seed", "11", "--out", folder / "deep/out"} +
                           guided_pair());
  std::vector<std::string> names;
  for (const auto& [name, bytes] : files_of(folder / "deep/out")) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("000000_c2.png", "000001_c5.png", "000002_c2.png", "grid.png",
                                 "preview.png", "samples_3x16x16x3.npz"));
  EXPECT_EQ(ended.out,
            folder / "deep/out/grid.png\n" + (folder / "deep/out/samples_3x16x16x3.npz\n"));
  for (const char* part :
       {"device     cpu", "unet_cond.pt", "classifier_attention.pt", "DDPM, 2 of 1000 steps",
        "scale 1 (the default)", "seed 11 (philox)", "MiB", "batches of 2",
        "assumed --diffusion_steps 1000", "3 pictures of 16x16", "3 of 3 pictures, step 2 of 2",
        "picture steps/s", "the classifier 10; the first 10 are used"})
    EXPECT_THAT(ended.err, HasSubstr(part));
  EXPECT_THAT(ended.err, Not(HasSubstr("\r"))) << "no line is rewritten where there is no terminal";

  const NpzReader npz = NpzReader::open(folder / "deep/out/samples_3x16x16x3.npz");
  EXPECT_EQ(npz.arrays().size(), 2u);
  EXPECT_EQ(npz.info("arr_0").dtype, DType::u8);
  EXPECT_THAT(npz.info("arr_0").shape, ElementsAre(3, 16, 16, 3));
  EXPECT_THAT(npz.read("arr_1").to_vector<std::int64_t>(), ElementsAre(2, 5, 2));
  EXPECT_GT(read_image_info(folder / "deep/out/grid.png").width, 2 * 64);
}

TEST(Sample, EveryPictureTellsHowItWasMade) {
  const TemporaryFolder folder;
  tiller_expect(0, Arguments{"sample", "--num_samples", "2", "--timestep_respacing", "2", "--seed",
                             "11", "--classes", "all", "--classifier_scale", "30", "--save", "png",
                             "--out", folder / "a"} +
                       guided_pair());
  const auto text = read_image_info(folder / "a/000001_c1.png").text;
  EXPECT_EQ(text.at("seed"), "11");
  EXPECT_EQ(text.at("index"), "1");
  EXPECT_EQ(text.at("class"), "1");
  EXPECT_THAT(text.at("Software"), HasSubstr("Tiller"));
  EXPECT_THAT(text.at("model"), HasSubstr("--num_channels 32"));
  const auto configuration = nlohmann::json::parse(text.at("configuration"));
  EXPECT_EQ(configuration["classifier_scale"], "30");
  EXPECT_EQ(configuration["noise_schedule"], "cosine");
  EXPECT_THAT(tiller_expect(0, {"inspect", folder / "a/000001_c1.png"}).out, HasSubstr("seed: 11"));

  // The command that stands in the picture makes the same picture.
  std::istringstream words(text.at("command"));
  Arguments command;
  for (std::string word; words >> word;) command.push_back(word);
  ASSERT_EQ(command.at(0), "tiller");
  command.erase(command.begin());
  tiller_expect(0, command + Arguments{"--out", folder / "b"});
  EXPECT_EQ(sample_pixels(folder / "b").at("000001_c1.png"),
            sample_pixels(folder / "a").at("000001_c1.png"));
}

// Bit for bit: what a picture is depends on the seed and its index alone.
TEST(Sample, BatchSizeAndWhereItStartsChangeNothing) {
  const TemporaryFolder folder;
  const Arguments common =
      Arguments{"sample", "--timestep_respacing", "3", "--classifier_scale", "50", "--seed", "5"} +
      guided_pair();
  tiller_expect(
      0, common + Arguments{"--num_samples", "4", "--batch_size", "4", "--out", folder / "four"});
  tiller_expect(
      0, common + Arguments{"--num_samples", "4", "--batch_size", "1", "--out", folder / "one"});
  tiller_expect(0, common + Arguments{"--num_samples", "2", "--first_index", "2", "--batch_size",
                                      "3", "--out", folder / "rest"});
  const auto four = files_of(folder / "four"), one = files_of(folder / "one");
  EXPECT_EQ(four.at("samples_4x16x16x3.npz"), one.at("samples_4x16x16x3.npz"));
  const auto pictures = sample_pixels(folder / "four"), rest = sample_pixels(folder / "rest");
  ASSERT_EQ(pictures.size(), 4u);
  ASSERT_EQ(rest.size(), 2u);
  for (const auto& [name, pixels] : rest) EXPECT_EQ(pixels, pictures.at(name)) << name;
  // The classes are random here: four of ten alike would be a poor draw.
  std::set<std::string> classes;
  for (const auto& [name, pixels] : pictures) classes.insert(name.substr(7));
  EXPECT_GT(classes.size(), 1u);
  // A continuation does not replace the npz of what it continues.
  EXPECT_TRUE(files_of(folder / "rest").contains("samples_2x16x16x3_from_000002.npz"));
}

TEST(Sample, OtherSeedsMakeOtherPictures) {
  const TemporaryFolder folder;
  const Arguments common =
      Arguments{"sample", "--num_samples", "1", "--timestep_respacing", "2", "--classes", "3"} +
      unguided();
  tiller_expect(0, common + Arguments{"--seed", "1", "--out", folder / "a"});
  tiller_expect(0, common + Arguments{"--seed", "2", "--out", folder / "b"});
  EXPECT_NE(sample_pixels(folder / "a").at("000000_c3.png"),
            sample_pixels(folder / "b").at("000000_c3.png"));
  // Two runs in one folder mix: that is told.
  EXPECT_THAT(tiller_expect(0, common + Arguments{"--classes", "4", "--out", folder / "a"}).err,
              HasSubstr("already holds 1 pictures from index 0 on"));
  EXPECT_THAT(tiller_expect(0, common + Arguments{"--first_index", "1", "--out", folder / "a"}).err,
              Not(HasSubstr("already holds")));
}

TEST(Sample, ScaleZeroIsNoGuidanceBitForBit) {
  const TemporaryFolder folder;
  for (const char* ddim : {"False", "True"}) {
    const Arguments common = {
        "--num_samples", "2",  "--timestep_respacing", "3", "--use_ddim", ddim, "--classes", "7,4",
        "--save",        "npz"};
    const auto pictures = [&](const std::string& out, const Arguments& more) {
      tiller_expect(0, Arguments{"sample", "--out", folder / out} + common + more);
      return NpzReader::open(folder / (out + "/samples_2x16x16x3.npz"))
          .read("arr_0")
          .to_vector<std::uint8_t>();
    };
    const auto zero = pictures("zero", guided_pair() + Arguments{"--classifier_scale", "0"});
    EXPECT_EQ(zero, pictures("none", unguided()));
    EXPECT_NE(zero, pictures("some", guided_pair() + Arguments{"--classifier_scale", "100"}));
  }
}

TEST(Sample, SavesOnlyWhatIsAskedFor) {
  const TemporaryFolder folder;
  const Arguments common =
      Arguments{"sample", "--num_samples", "1", "--timestep_respacing", "1", "--classes", "0"} +
      unguided();
  const std::pair<const char*, const char*> cases[] = {
      {"png", "000000_c0.png"}, {"grid", "grid.png"}, {"npz", "samples_1x16x16x3.npz"}};
  for (const auto& [save, file] : cases) {
    tiller_expect(0, common + Arguments{"--save", save, "--out", folder / save});
    const auto files = files_of(folder / save);
    EXPECT_EQ(files.size(), 1u);
    EXPECT_TRUE(files.contains(file)) << save;
  }
}

TEST(Sample, UnconditionalNetworksHaveNoLabels) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  const Ended ended = tiller_expect(0, {"sample", "--model_path", model, "--num_samples", "1",
                                        "--timestep_respacing", "2", "--out", folder / "o"});
  EXPECT_THAT(ended.err, Not(HasSubstr("assumed")));
  const auto files = files_of(folder / "o");
  EXPECT_TRUE(files.contains("000000.png"));
  EXPECT_FALSE(NpzReader::open(folder / "o/samples_1x8x8x3.npz").contains("arr_1"));
}

// guided-diffusion writes arr_1 whenever classes steer the run.
TEST(Sample, UnconditionalNetworksUnderGuidanceHaveLabels) {
  const TemporaryFolder folder;
  UNetConfig config = smallest_unet();
  config.image_size = 16;
  const std::string model = write_random_unet(folder / "m.safetensors", config);
  tiller_expect(0, {"sample", "--model_path", model, "--classifier_path",
                    data_file("classifier_attention.pt"), "--classifier_num_head_channels", "32",
                    "--num_samples", "2", "--timestep_respacing", "2", "--classes", "9,1", "--out",
                    folder / "o"});
  const NpzReader npz = NpzReader::open(folder / "o/samples_2x16x16x3.npz");
  EXPECT_THAT(npz.read("arr_1").to_vector<std::int64_t>(), ElementsAre(9, 1));
  EXPECT_TRUE(files_of(folder / "o").contains("000000_c9.png"));
}

TEST(Sample, ClassesByName) {
  const TemporaryFolder folder;
  UNetConfig config = smallest_unet();
  config.num_classes = 3;
  const std::string model = write_random_unet(folder / "m.safetensors", config,
                                              {{"tiller.classes", R"(["cat","dog","red fox"])"}});
  const Arguments common = {"sample",    "--model_path",         model, "--num_samples",
                            "2",         "--timestep_respacing", "1",   "--out",
                            folder / "o"};
  tiller_expect(0, common + Arguments{"--classes", "red fox, dog"});
  EXPECT_EQ(read_image_info(folder / "o/000000_c2.png").text.at("class_name"), "red fox");
  EXPECT_TRUE(files_of(folder / "o").contains("000001_c1.png"));
  EXPECT_THAT(tiller_expect(2, common + Arguments{"--classes", "dgo"}).err,
              HasSubstr("did you mean 'dog'?"));
}

// One step, all steps by a section each, and the fixed variances.
TEST(Sample, ShortSchedulesWork) {
  const TemporaryFolder folder;
  UNetConfig config = smallest_unet();
  config.out_channels = 3;
  const std::string model = write_random_unet(folder / "m.safetensors", config);
  const Arguments common = {"sample", "--model_path",       model, "--num_samples",
                            "1",      "--classifier_scale", "1",   "--save",
                            "npz"};
  std::set<std::vector<std::uint8_t>> different;
  for (const Arguments& flags : {Arguments{"--timestep_respacing", "1"},
                                 {"--timestep_respacing", "2,1"},
                                 {"--timestep_respacing", "2,1", "--sigma_small", "True"},
                                 {"--timestep_respacing", "ddim2", "--use_ddim", "True"},
                                 {"--timestep_respacing", "2", "--clip_denoised", "False"},
                                 {"--timestep_respacing", "2", "--predict_xstart", "True"}}) {
    tiller_expect(0, common + Arguments{"--out", folder / "o"} + flags);
    different.insert(
        NpzReader::open(folder / "o/samples_1x8x8x3.npz").read("arr_0").to_vector<std::uint8_t>());
  }
  EXPECT_EQ(different.size(), 6u) << "every setting has its effect";
}

TEST(Sample, WhatMakesGuidanceGoAstrayIsWarnedOf) {
  const TemporaryFolder folder;
  const Checkpoint file = Checkpoint::open(data_file("classifier_attention.pt"));
  Inference classifier = infer(file, {{"classifier_num_head_channels", "32"}});
  const Arguments common = {"sample",
                            "--model_path",
                            write_random_unet(folder / "m.safetensors",
                                              [] {
                                                UNetConfig c = smallest_unet();
                                                c.image_size = 16;
                                                return c;
                                              }()),
                            "--num_samples",
                            "1",
                            "--timestep_respacing",
                            "5",
                            "--out",
                            folder / "o"};
  const auto run_with = [&](const char* schedule, const Arguments& more = {}) {
    classifier.diffusion = {{"noise_schedule", schedule}, {"diffusion_steps", "1000"}};
    write_safetensors(folder / "c.safetensors", all_tensors(file), config_metadata(classifier));
    return tiller_expect(0,
                         common + Arguments{"--classifier_path", folder / "c.safetensors"} + more)
        .err;
  };
  EXPECT_THAT(run_with("linear"), HasSubstr("another noise level"));
  EXPECT_THAT(run_with("cosine"),
              AllOf(Not(HasSubstr("another noise level")), Not(HasSubstr("begins at"))));
  EXPECT_THAT(run_with("cosine", {"--use_ddim", "True", "--noise_schedule", "cosine"}),
              HasSubstr("guided DDIM begins at timestep 999"));
}

// classifier_sample.py's own draws after torch.manual_seed(3): labels, start, noise at each step,
// in batches of two of which the last is cut.
TEST(Sample, DrawsWhatPyTorchsCpuGeneratorDraws) {
  const char* reference = std::getenv("TILLER_REFERENCE_DIR");
  if (reference == nullptr) GTEST_SKIP() << "TILLER_REFERENCE_DIR is not set";
  const std::string base = reference;
  const TemporaryFolder folder;
  const Arguments common = {"sample",
                            "--model_path",
                            base + "/unet_64.pt",
                            "--classifier_path",
                            base + "/classifier_64.pt",
                            "--num_head_channels",
                            "32",
                            "--use_new_attention_order",
                            "True",
                            "--noise_schedule",
                            "cosine",
                            "--classifier_scale",
                            "300",
                            "--rng",
                            "torch-cpu",
                            "--seed",
                            "3",
                            "--batch_size",
                            "2",
                            "--timestep_respacing",
                            "ddim4",
                            "--use_ddim",
                            "True",
                            "--out",
                            folder / "o"};
  tiller_expect(0, common + Arguments{"--num_samples", "3"});
  const NpzReader theirs = NpzReader::open(base + "/sample_torch_cpu.npz");
  const NpzReader ours = NpzReader::open(folder / "o/samples_3x64x64x3.npz");
  EXPECT_EQ(ours.read("arr_1").to_vector<std::int64_t>(),
            theirs.read("arr_1").to_vector<std::int64_t>());
  expect_same_pictures(ours.read("arr_0"), theirs.read("arr_0"));
  // A later start stands where the first batch would have left the generator.
  tiller_expect(0, common + Arguments{"--num_samples", "1", "--first_index", "2"});
  EXPECT_EQ(NpzReader::open(folder / "o/samples_1x64x64x3_from_000002.npz")
                .read("arr_0")
                .to_vector<std::uint8_t>(),
            ours.read("arr_0").slice(2, 3).to_vector<std::uint8_t>());
}

// The same through networks of the tests' own set: batches are whole, and an unguided network that
// takes no class draws no labels.
TEST(Sample, TorchCpuDrawsWholeBatches) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  const Arguments common = {"sample",    "--model_path", model,  "--rng",
                            "torch-cpu", "--seed",       "3",    "--timestep_respacing",
                            "1",         "--use_ddim",   "True", "--save",
                            "npz"};
  tiller_expect(
      0, common + Arguments{"--num_samples", "3", "--batch_size", "2", "--out", folder / "o"});
  // The start of the second batch lies behind one start and one step's noise of two pictures each.
  TorchCpuGenerator generator(3);
  generator.randn(std::int64_t{2} * 3 * 8 * 8);
  generator.randn(std::int64_t{2} * 3 * 8 * 8);
  const std::vector<float> start = generator.randn(std::int64_t{2} * 3 * 8 * 8);
  NpzWriter noise(folder / "n.npz");
  std::vector<float> draws(start.begin(), start.begin() + 3 * 8 * 8);
  draws.resize(2 * draws.size(), 0.0f);
  noise.write("noise", Tensor::from(draws, {2, 1, 3, 8, 8}));
  noise.finish();
  tiller_expect(
      0, {"sample", "--model_path", model, "--noise", folder / "n.npz", "--timestep_respacing", "1",
          "--use_ddim", "True", "--save", "npz", "--out", folder / "p"});
  EXPECT_EQ(
      NpzReader::open(folder / "o/samples_3x8x8x3.npz")
          .read("arr_0")
          .slice(2, 3)
          .to_vector<std::uint8_t>(),
      NpzReader::open(folder / "p/samples_1x8x8x3.npz").read("arr_0").to_vector<std::uint8_t>());
}

}  // namespace
}  // namespace tiller::testing
