// tiller sample when things go wrong: what is kept, what is said, and the exit code.
#include "tests/tools/sample_util.h"

namespace tiller::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Flags that end before any network runs: the message names them.
TEST(SampleFailures, BadInputIsToldApart) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  NpzWriter other(folder / "other.npz");
  other.write("x", Tensor::zeros({2}));
  other.finish();
  NpzWriter narrow(folder / "narrow.npz");
  narrow.write("noise", Tensor::zeros({3, 1, 1, 8, 8}));
  narrow.finish();
  NpzWriter brief(folder / "brief.npz");
  brief.write("noise", Tensor::zeros({2, 2, 3, 8, 8}));
  brief.finish();
  struct Case {
    int code;
    Arguments flags;
    std::vector<std::string> parts;
  };
  const Arguments m = {"--model_path", model, "--timestep_respacing", "2"};
  const Case cases[] = {
      {2, {}, {"--model_path"}},
      {3, {"--model_path", folder / "absent.pt"}, {"absent.pt"}},
      {3, {"--model_path", data_file("classifier_attention.pt")}, {"--classifier_path"}},
      {3, m + Arguments{"--classifier_path", data_file("unet_cond.pt")}, {"--model_path"}},
      {2, m + Arguments{"--classes", "3"}, {"--classes", "unconditional", "--classifier_path"}},
      {2, m + Arguments{"--save", "jpg"}, {"--save", "'jpg'", "png, npz, grid"}},
      {2, m + Arguments{"--save", ""}, {"--save"}},
      {2, m + Arguments{"--rng", "mt19937"}, {"--rng", "philox, torch-cpu"}},
      {2, m + Arguments{"--eta", "2"}, {"--eta", "from 0 to 1"}},
      {2, m + Arguments{"--num_samples", "0"}, {"--num_samples"}},
      {2, m + Arguments{"--num_samples", "-1"}, {"--num_samples -1"}},
      {2, m + Arguments{"--batch_size", "0"}, {"--batch_size"}},
      {2, m + Arguments{"--first_index", "-2"}, {"--first_index"}},
      {2, m + Arguments{"--preview_every", "-1"}, {"--preview_every"}},
      {2, m + Arguments{"--seed", "x"}, {"--seed", "'x'"}},
      {2, m + Arguments{"--classifier_scale", "strong"}, {"--classifier_scale"}},
      {2, m + Arguments{"--use_ddim", "maybe"}, {"--use_ddim"}},
      {2, m + Arguments{"--clip_denoised", "2"}, {"--clip_denoised"}},
      {2, m + Arguments{"--device", "tpu"}, {"tpu"}},
      {2, m + Arguments{"--device", "meta"}, {"meta", "inspect"}},
      {2, m + Arguments{"--threads", "-1"}, {"--threads"}},
      {2, m + Arguments{"--timestep_respacing", "ddim300"}, {"ddim300", "ddim334"}},
      {2, m + Arguments{"--timestep_respacing", "2000"}, {"2000"}},
      {2, m + Arguments{"--noise_schedule", "sqrt"}, {"--noise_schedule"}},
      {2, m + Arguments{"--diffusion_steps", "10", "--noise_schedule", "linear"}, {"20 steps"}},
      {2,
       m + Arguments{"--rng", "torch-cpu", "--batch_size", "4", "--first_index", "6"},
       {"multiple of --batch_size 4"}},
      {2, m + Arguments{"--rng", "torch-cpu", "--noise", folder / "brief.npz"}, {"contradict"}},
      {3, m + Arguments{"--noise", folder / "absent.npz"}, {"absent.npz"}},
      {3, m + Arguments{"--noise", folder / "other.npz"}, {"no array noise"}},
      {2, m + Arguments{"--noise", folder / "narrow.npz"}, {"1 channels"}},
      {2, m + Arguments{"--noise", folder / "brief.npz"}, {"2 draws", "need 3"}},
      {1, m + Arguments{"--out", "/dev/null/deep"}, {"--out /dev/null/deep"}},
      {1, m + Arguments{"--out", model}, {model}},
      {2, m + Arguments{"--base_samples", "x"}, {"--base_samples", "upsample"}},
  };
  for (const Case& c : cases) {
    const Ended ended = tiller_expect(c.code, Arguments{"sample", "--out", folder / "o"} + c.flags);
    for (const std::string& part : c.parts) EXPECT_THAT(ended.err, HasSubstr(part));
    EXPECT_EQ(ended.out, "");
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "o")) << "nothing was begun";
}

TEST(SampleFailures, ClassesOutOfRange) {
  for (const char* classes : {"10", "-1", "1000", "3,x", "", "1,,2", "1 2"}) {
    const Ended ended = tiller_expect(2, Arguments{"sample", "--classes", classes} + guided_pair());
    EXPECT_THAT(ended.err, HasSubstr("--classes"));
    EXPECT_THAT(ended.err, HasSubstr("9"));
  }
}

TEST(SampleFailures, SuperResolutionBelongsToUpsample) {
  const TemporaryFolder folder;
  UNetConfig config = smallest_unet();
  config.super_resolution = true;
  const std::string model = write_random_unet(folder / "m.safetensors", config);
  EXPECT_THAT(tiller_expect(2, {"sample", "--model_path", model}).err,
              HasSubstr("tiller upsample"));
}

TEST(SampleFailures, FlagsWithoutEffectAndAbsurdScalesAreWarnedOf) {
  const TemporaryFolder folder;
  const Arguments common = {"--num_samples", "1",     "--timestep_respacing",
                            "ddim2",         "--out", folder / "o"};
  const Arguments alone = Arguments{"sample"} + common + unguided();
  EXPECT_THAT(tiller_expect(0, alone + Arguments{"--eta", "0.5", "--classifier_scale", "2"}).err,
              AllOf(HasSubstr("--eta has no effect"), HasSubstr("--classifier_scale has no effect"),
                    HasSubstr("the sampler is DDPM")));
  const Arguments pair = Arguments{"sample"} + common + guided_pair();
  EXPECT_THAT(tiller_expect(0, pair + Arguments{"--classifier_scale", "-1"}).err,
              HasSubstr("steers away"));
  EXPECT_THAT(tiller_expect(0, pair + Arguments{"--classifier_scale", "500"}).err,
              HasSubstr("very strong"));
  EXPECT_THAT(tiller_expect(0, pair + Arguments{"--classifier_scale", "4"}).err,
              Not(HasSubstr("strong")));
}

class SampleSignal : public ::testing::TestWithParam<int> {};

// The kill comes while the second batch runs.
TEST_P(SampleSignal, KeepsWhatIsFinishedAndSaysHowToGoOn) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  const Arguments common = {"sample", "--model_path", model, "--timestep_respacing",
                            "100",    "--batch_size", "2"};
  const Ended ended =
      signal_when(folder / "o/000001.png", GetParam(),
                  common + Arguments{"--num_samples", "1000", "--out", folder / "o"});
  EXPECT_EQ(ended.code, 130) << ended.err;
  auto files = files_of(folder / "o");
  const std::size_t finished = sample_pixels(folder / "o").size();
  ASSERT_GE(finished, 2u);
  ASSERT_EQ(finished % 2, 0u);
  EXPECT_TRUE(files.contains("grid.png"));
  EXPECT_TRUE(files.contains(fmt::format("samples_{}x8x8x3.npz", finished)));
  EXPECT_EQ(files.size(), finished + 2) << "no temporary file is left";
  EXPECT_THAT(ended.err, HasSubstr(fmt::format("--first_index {} --num_samples {}", finished,
                                               1000 - finished)));
  EXPECT_THAT(ended.err, HasSubstr(fmt::format("{} of 1000 pictures are finished", finished)));
  // What it says works: the pictures are those of one run.
  tiller_expect(0, common + Arguments{"--first_index", std::to_string(finished), "--num_samples",
                                      "1", "--out", folder / "o"});
  tiller_expect(0, common + Arguments{"--num_samples", std::to_string(finished + 1), "--out",
                                      folder / "whole"});
  EXPECT_EQ(sample_pixels(folder / "o"), sample_pixels(folder / "whole"));
}

INSTANTIATE_TEST_SUITE_P(Sample, SampleSignal, ::testing::Values(SIGINT, SIGTERM),
                         [](const auto& info) {
                           return info.param == SIGINT ? std::string("int") : std::string("term");
                         });

// A limit on file sizes stands in for a disk: the spool of pictures meets it after a few.
TEST(SampleFailures, AFullDiskKeepsWhatIsFinished) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  Setting full;
  full.file_limit = 3000;  // fifteen pictures of 192 bytes
  const Ended ended =
      tiller_expect(1,
                    {"sample", "--model_path", model, "--timestep_respacing", "1", "--num_samples",
                     "40", "--batch_size", "4", "--out", folder / "o"},
                    full);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("File too large"), HasSubstr("15 of 40"),
                               HasSubstr("--first_index 15 --num_samples 25")));
  const auto pictures = sample_pixels(folder / "o");
  EXPECT_GE(pictures.size(), 15u);
  EXPECT_EQ(files_of(folder / "o").size(), pictures.size()) << "no half-written file is left";
  EXPECT_EQ(ended.out, "");
}

#if !defined(__SANITIZE_ADDRESS__)  // which takes all address space there is
TEST(SampleFailures, OutOfMemoryNamesTheBatch) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  Setting small;
  small.memory_limit = std::size_t{600} << 20;
  const Ended ended =
      tiller_expect(4,
                    {"sample", "--model_path", model, "--timestep_respacing", "1", "--num_samples",
                     "40000", "--batch_size", "40000", "--threads", "1", "--out", folder / "o"},
                    small);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("--batch_size 40000; a smaller one needs less"),
                               HasSubstr("0 of 40000")));
}
#endif

// Where the first picture does not fit, nothing is there and the message says so.
TEST(SampleFailures, ADiskThatIsFullFromTheStart) {
  const TemporaryFolder folder;
  UNetConfig config = smallest_unet();
  config.image_size = 64;  // a PNG of noise has at least its 12 KB
  const std::string model = write_random_unet(folder / "m.safetensors", config);
  Setting full;
  full.file_limit = 6000;
  const Ended ended = tiller_expect(1,
                                    {"sample", "--model_path", model, "--timestep_respacing", "1",
                                     "--num_samples", "2", "--out", folder / "o"},
                                    full);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("000000.png"), HasSubstr("File too large"),
                               HasSubstr("0 of 2 pictures are finished;")));
  EXPECT_EQ(files_of(folder / "o").size(), 0u);
}

// Whoever watched has left: the run goes on.
TEST(SampleFailures, ABrokenStandardErrorEndsNothing) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  Setting silent;
  silent.err = "/dev/full";
  tiller_expect(0,
                {"sample", "--model_path", model, "--timestep_respacing", "1", "--num_samples", "1",
                 "--out", folder / "o"},
                silent);
  EXPECT_TRUE(files_of(folder / "o").contains("000000.png"));
}

TEST(SampleFailures, NaNWeightsStopTheFirstStepThatMeetsThem) {
  const TemporaryFolder folder;
  const Checkpoint file = Checkpoint::open(data_file("unet_cond.pt"));
  std::vector<NamedTensor> tensors = all_tensors(file);
  tensor_named(tensors, "middle_block.0.in_layers.2.bias").data<float>()[3] =
      std::numeric_limits<float>::quiet_NaN();
  write_pt(folder / "m.pt", tensors);
  Arguments flags = unguided();
  flags[1] = folder / "m.pt";
  const Ended ended = tiller_expect(1, Arguments{"sample", "--timestep_respacing", "5",
                                                 "--num_samples", "1", "--out", folder / "o"} +
                                           flags);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("NaN or infinity at step 4"), HasSubstr("timestep 999"),
                               HasSubstr("diffusion network"), HasSubstr("middle_block.0"),
                               HasSubstr("middle_block.0.in_layers.2.bias holds NaN"),
                               Not(HasSubstr("to go"))));
  EXPECT_EQ(files_of(folder / "o").size(), 0u);
}

TEST(SampleFailures, NaNInTheClassifierIsTheClassifiers) {
  const TemporaryFolder folder;
  const Checkpoint file = Checkpoint::open(data_file("classifier_attention.pt"));
  std::vector<NamedTensor> tensors = all_tensors(file);
  tensor_named(tensors, "input_blocks.1.0.in_layers.2.weight").data<float>()[3] =
      std::numeric_limits<float>::infinity();
  write_pt(folder / "c.pt", tensors);
  Arguments flags = guided_pair();
  flags[3] = folder / "c.pt";
  const Ended ended = tiller_expect(1, Arguments{"sample", "--timestep_respacing", "5",
                                                 "--num_samples", "1", "--out", folder / "o"} +
                                           flags);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("step 4 (timestep 999) in the classifier"),
                               HasSubstr("input_blocks.1.0"), HasSubstr("weight holds NaN")));
}

// A scale so strong that x_t overflows: the cause is the guidance, not the file.
TEST(SampleFailures, OverwhelmingGuidanceIsTheLikelyCause) {
  const TemporaryFolder folder;
  const Ended ended =
      tiller_expect(1, Arguments{"sample", "--timestep_respacing", "10", "--num_samples", "1",
                                 "--classifier_scale", "1e38", "--out", folder / "o"} +
                           guided_pair());
  EXPECT_THAT(ended.err, HasSubstr("NaN or infinity"));
  EXPECT_THAT(ended.err, HasSubstr("lower --classifier_scale"));
}

}  // namespace
}  // namespace tiller::testing
