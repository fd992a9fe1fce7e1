// tiller train-classifier through the real program.
#include <gtest/gtest.h>

#include "tests/tools/train_util.h"

namespace tiller::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(TrainClassifier, LearnsValidatesAndSteers) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 9, 3), out = folder / "c";
  const Ended ended =
      tiller_expect(0, tiny_classifier(data, out) +
                           Arguments{"--val_data_dir", data, "--iterations", "5", "--anneal_lr",
                                     "True", "--save_interval", "2", "--log_interval", "2",
                                     "--eval_interval", "2", "--microbatch", "3",
                                     "--noise_schedule", "cosine", "--openai_files", "True"});
  // Not behind step 0, as in classifier_train; no average.
  EXPECT_THAT(names_in(out),
              ElementsAre("checkpoint000002.safetensors", "checkpoint000004.safetensors", "log.txt",
                          "metrics.jsonl", "model000002.pt", "model000004.pt", "opt000002.pt",
                          "opt000004.pt", "progress.csv"));
  const auto rows = metrics(out);
  ASSERT_EQ(rows.size(), 3u);
  for (const char* key : {"train_loss", "train_acc@1", "train_acc@5", "val_loss", "val_acc@1",
                          "val_acc@5", "grad_norm", "param_norm", "step", "samples"})
    EXPECT_TRUE(rows[1].contains(key)) << key;
  EXPECT_EQ(rows[1].at("val_acc@5"), 1) << "three classes are all among the best five";
  bool quartile = false;
  for (const auto& [key, value] : rows[2].items())
    quartile = quartile || key.starts_with("train_acc@1_q");
  EXPECT_TRUE(quartile);

  const Checkpoint file = Checkpoint::open(out + "/checkpoint000004.safetensors");
  EXPECT_EQ(file.metadata().at("tiller.classes"), R"(["cat","dog","emu"])");
  write_random_unet(folder / "u.safetensors", smallest_unet());
  tiller_expect(0, {"sample", "--model_path", folder / "u.safetensors", "--classifier_path",
                    out + "/checkpoint000004.safetensors", "--classes", "emu", "--num_samples", "1",
                    "--timestep_respacing", "2", "--out", folder / "o"});
  EXPECT_EQ(sample_pixels(folder / "o").count("000000_c2.png"), 1u);
  // The schedule that it was trained with is known: another one is warned of.
  const Ended other =
      tiller_run({"sample", "--model_path", folder / "u.safetensors", "--classifier_path",
                  out + "/checkpoint000004.safetensors", "--noise_schedule", "linear",
                  "--num_samples", "1", "--timestep_respacing", "4", "--out", folder / "p"});
  EXPECT_THAT(other.err, AllOf(HasSubstr("warning"), HasSubstr("cosine")));
}

TEST(TrainClassifier, GoesOnAsIfItHadNeverStopped) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 9, 3);
  const std::string a = folder / "a", b = folder / "b";
  const Arguments more = {"--val_data_dir", data,  "--log_interval", "3",    "--eval_interval", "2",
                          "--dropout",      "0.2", "--openai_files", "False"};
  tiller_expect(0, tiny_classifier(data, a) + more + Arguments{"--iterations", "8"});
  tiller_expect(0, tiny_classifier(data, b) + more + Arguments{"--iterations", "5"});
  tiller_expect(0, {"train-classifier", "--out", b, "--resume", "auto", "--iterations", "8"});
  expect_same_state(a + "/checkpoint000007.safetensors", b + "/checkpoint000007.safetensors");
  EXPECT_EQ(text_of(a + "/metrics.jsonl"), text_of(b + "/metrics.jsonl"));
}

class TrainClassifierPool : public ::testing::TestWithParam<const char*> {};

TEST_P(TrainClassifierPool, TakesAStepOfCleanPicturesInBfloat16) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 4);
  tiller_expect(0, tiny_classifier(data, folder / "a") + Arguments{"--classifier_pool", GetParam(),
                                                                   "--iterations", "1", "--noised",
                                                                   "False", "--use_bf16", "True"});
  const auto rows = metrics(folder / "a");
  EXPECT_TRUE(rows[0].contains("train_loss_q0"));
  EXPECT_FALSE(rows[0].contains("train_loss_q3")) << "clean pictures are step 0";
}

INSTANTIATE_TEST_SUITE_P(Pools, TrainClassifierPool,
                         ::testing::Values("adaptive", "attention", "spatial", "spatial_v2"));

TEST(TrainClassifier, HalfPrecisionStartsAtTwoToTheSixteenth) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 4);
  tiller_expect(0, tiny_classifier(data, folder / "a") +
                       Arguments{"--classifier_use_fp16", "True", "--iterations", "1"});
  EXPECT_EQ(metrics(folder / "a")[0].at("lg_loss_scale"), 16);
}

TEST(TrainClassifier, ClassesMustAgree) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 4, 2);
  const std::string other = make_pictures(folder / "other", 6, 3);
  EXPECT_THAT(tiller_expect(1, tiny_classifier(data, folder / "a") +
                                   Arguments{"--val_data_dir", other, "--iterations", "1"})
                  .err,
              HasSubstr("emu"));
  std::filesystem::create_directory(folder / "plain");
  std::filesystem::copy(data + "/cat_0.png", folder / "plain/one.png");
  std::filesystem::copy(data + "/cat_0.png", folder / "plain/two.png");
  EXPECT_THAT(tiller_expect(2, tiny_classifier(folder / "plain", folder / "b")).err,
              HasSubstr("nothing tells the classes"));
  std::filesystem::copy(data + "/cat_0.png", folder / "plain/cat_0.png");
  EXPECT_THAT(tiller_expect(1, tiny_classifier(folder / "plain", folder / "c") +
                                   Arguments{"--labels", "names"})
                  .err,
              HasSubstr("one.png"));
}

}  // namespace
}  // namespace tiller::testing
