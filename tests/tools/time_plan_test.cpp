// What a training says before its first step: memory, time, and for every published architecture.
#include <gtest/gtest.h>

#include <filesystem>

#include "nn/published.h"
#include "tests/tools/readme_util.h"
#include "tests/tools/train_util.h"
#include "tools/flags/architecture.h"
#include "tools/network.h"
#include "tools/training/time_plan.h"

namespace tiller::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Two calls: 10 GFLOP over 1 GB at 2 GFLOP/s and 1 GB/s is bound by arithmetic, the other by bytes.
TEST(TimePlan, EachCallTakesItsArithmeticOrItsBytes) {
  PassPlan pass;
  pass.calls = {{10e9, 0.5e9, 0.5e9}, {1e9, 2e9, 1e9}};
  const Speed speed{.flops_per_second = 2e9, .bytes_per_second = 1e9};
  EXPECT_DOUBLE_EQ(seconds_of(pass, speed), 5 + 3);
  // Three passes, and AdamW with one average on 5 M parameters: ten times 4 bytes each.
  EXPECT_DOUBLE_EQ(seconds_of_step(pass, 3, 5'000'000, 1, speed), 3 * 8 + 0.2);
  EXPECT_THAT(time_in_words(1.5, speed, 100),
              AllOf(HasSubstr("about 1.5 s a step, 2:30 for 100 steps"), HasSubstr("estimate"),
                    HasSubstr("2 GFLOP/s"), HasSubstr("1 GB/s")));
  EXPECT_THAT(time_in_words(1.5, speed, 0), HasSubstr("a step: an estimate"));
  EXPECT_THAT(time_in_words(7200, speed, 0), HasSubstr("about 2:00:00 a step"));
}

TEST(TimePlan, MeasuresThisMachine) {
  const Speed speed = measure_speed(kCpu, DType::f32, 4);
  EXPECT_GT(speed.flops_per_second, 1e6);
  EXPECT_LT(speed.flops_per_second, 1e15);
  EXPECT_GT(speed.bytes_per_second, 1e6);
  EXPECT_LT(speed.bytes_per_second, 1e14);
}

// The calls of a plan add up to its sum, so that the time and the arithmetic speak of the same.
TEST(TimePlan, ThePlanListsEveryCall) {
  Inference inference;
  inference.unet = smallest_unet();
  const PassPlan pass = plan_training(plan_network(inference), 2);
  EXPECT_EQ(static_cast<std::int64_t>(pass.calls.size()), pass.operations);
  Cost sum;
  for (const Cost& call : pass.calls) sum += call;
  EXPECT_EQ(sum.flops, pass.cost.flops);
  EXPECT_GT(sum.flops, 0);
}

TEST(DryRun, SaysWhatItWouldCostAndLeavesNothing) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6), out = folder / "run";
  for (const Arguments& command : {tiny_unet(data, out), tiny_classifier(data, out)}) {
    const Ended ended = tiller_expect(0, command + Arguments{"--iterations", "70", "--dry_run"});
    EXPECT_THAT(ended.err, AllOf(HasSubstr("M parameters"), HasSubstr("for a pass of 4 pictures"),
                                 HasSubstr(" s a step, "), HasSubstr(" for 70 steps"),
                                 HasSubstr("estimate"), Not(HasSubstr("first step took"))));
    EXPECT_FALSE(std::filesystem::exists(out));
  }
  tiller_expect(2, tiny_unet(folder / "data", out) +
                       Arguments{"--num_channels", "48", "--dry_run"});  // no multiple of 32
}

TEST(DryRun, TheFirstStepsCorrectTheEstimate) {
  const TemporaryFolder folder;
  const Ended ended =
      tiller_expect(0, tiny_unet(make_pictures(folder / "data", 6), folder / "run") +
                           Arguments{"--iterations", "7", "--openai_files", "False"});
  const std::size_t estimate = ended.err.find(" s a step, ");
  const std::size_t first = ended.err.find("the first step took");
  const std::size_t later = ended.err.find("steps 2 to 5 took");
  EXPECT_LT(estimate, first);
  EXPECT_LT(first, later);
  ASSERT_NE(later, std::string::npos);
  EXPECT_THAT(ended.err.substr(first, 100), HasSubstr(" s estimated); 6 more at that rate take"));
  EXPECT_THAT(ended.err.substr(later, 100), HasSubstr(" s estimated); 2 more at that rate take"));
}

std::int64_t parameters_of(const std::string& published) {
  for (const KnownModel& model : known_models())
    if (published == model.name) {
      const auto source = list_parameters();
      return model.kind == NetworkKind::classifier
                 ? Classifier(classifier_config(model), *source).parameters().numel()
                 : UNet(unet_config(model), *source).parameters().numel();
    }
  ADD_FAILURE() << published << " is no known model";
  return 0;
}

// guided-diffusion's README gives $MODEL_FLAGS for each of its models, and image_train.py and
// super_res_train.py take them before improved-diffusion's $TRAIN_FLAGS; the classifier's line is in
// the README itself. Every one of them is taken as it stands, and plans the published network.
TEST(DryRun, EveryPublishedTrainingCommandIsPlanned) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 2);
  std::set<std::string> planned;
  for (const CommandLine& line : readme()) {
    Arguments command;
    std::string model;
    if (line.script == "classifier_train.py") {
      command = Arguments{"train-classifier"} + line.arguments;
      model = "128x128_classifier";
    } else {
      command = {"train"};
      for (std::size_t i = 0; i < line.arguments.size(); i += 2) {
        const FlagSpec& flag = *find_flag(line.arguments[i].substr(2));
        if (flag.name == "model_path") model = std::filesystem::path(line.arguments[i + 1]).stem();
        const bool describes = flag.group == FlagGroup::model && flag.name != "model_path";
        if (describes || flag.group == FlagGroup::diffusion)
          command = command + Arguments{line.arguments[i], line.arguments[i + 1]};
      }
      command = command + Arguments{"--lr", "1e-4", "--batch_size", "128"};
    }
    if (model == "model") model = "128x128_diffusion";  // the README's last line trained its own
    if (!planned.insert(model).second) continue;
    SCOPED_TRACE(model);
    const Ended ended =
        tiller_expect(0, command + Arguments{"--data_dir", data, "--num_classes", "1000", "--out",
                                             folder / "run", "--dry_run", "True"});
    EXPECT_THAT(ended.err, HasSubstr(fmt::format("{:.4g} M parameters",
                                                 static_cast<double>(parameters_of(model)) / 1e6)));
    EXPECT_THAT(ended.err, HasSubstr(" a step"));
    EXPECT_FALSE(std::filesystem::exists(folder / "run"));
  }
  EXPECT_EQ(planned.size(), 10u);
}

TEST(Labels, TheFlagSaysWhatTellsThem) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 4);  // cat_0.png, dog_1.png, ...
  std::filesystem::create_directories(data + "/in");
  std::filesystem::create_directories(data + "/out");
  for (const char* name : {"cat_0.png", "cat_2.png"})
    std::filesystem::rename(data + "/" + name, data + "/in/" + name);
  for (const char* name : {"dog_1.png", "dog_3.png"})
    std::filesystem::rename(data + "/" + name, data + "/out/" + name);
  const auto told = [&](const Arguments& more, int code = 0) {
    return tiller_expect(code, tiny_classifier(data, folder / "run") +
                                   Arguments{"--iterations", "3", "--dry_run"} + more)
        .err;
  };
  EXPECT_THAT(told({}), HasSubstr("from the folders' names: in, out"));
  EXPECT_THAT(told({"--labels", "folders"}), HasSubstr("from the folders' names: in, out"));
  EXPECT_THAT(told({"--labels", "names"}), HasSubstr("first underscore: cat, dog"));
  EXPECT_THAT(told({"--labels", "prefix"}, 2), HasSubstr("--labels"));
  // What does not go by the choice is an error that names a picture.
  std::filesystem::rename(data + "/in/cat_0.png", data + "/cat_0.png");
  EXPECT_THAT(told({"--labels", "folders"}, 1), HasSubstr("cat_0.png stands in no folder"));
  std::filesystem::rename(data + "/cat_0.png", data + "/in/cat.png");
  EXPECT_THAT(told({"--labels", "names"}, 1), HasSubstr("in/cat.png has no class"));
  NpzWriter npz(folder / "p.npz");
  npz.write("arr_0", Tensor::zeros({4, 8, 8, 3}, DType::u8));
  npz.write("arr_1", Tensor::zeros({4}, DType::i64));
  npz.finish();
  EXPECT_THAT(told({"--labels", "names", "--data_dir", folder / "p.npz"}, 2),
              HasSubstr("an npz has its labels"));
}

}  // namespace
}  // namespace tiller::testing
