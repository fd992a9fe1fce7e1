// `tiller demo --train` from the command line to the files it leaves.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/files/checkpoint.h"
#include "runtime/files/image.h"
#include "tests/tools/program_util.h"
#include "tools/demo_shapes/networks.h"
#include "tools/demo_shapes/poster.h"
#include "tools/demo_shapes/shapes.h"
#include "tools/network.h"

namespace tiller {
namespace {

using testing::Ended;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::tiller_expect;

TEST(DemoCommand, LeavesAGridAndNetworksThatLoadWithoutFlags) {
  const TemporaryFolder folder;
  const std::string out = folder / "new/demo";  // made on the way
  const Ended end = tiller_expect(
      0, {"demo", "--train", "--train_steps", "3", "--num_samples", "6", "--timestep_respacing",
          "2", "--seed", "7", "--threads", "1", "--out", out});
  for (const char* part : {"scale 0", "scale 1", "scale 4", "second classifier", "% rightly",
                           "tiller sample --model_path"})
    EXPECT_THAT(end.out, HasSubstr(part));

  const Tensor grid = read_image(out + "/grid.png");
  const Tensor black = fill({demo::kClasses, demo::kSide, demo::kSide, 3}, DType::f32, kCpu, -1.0);
  const Tensor like = demo::draw_poster({{0, black, 1}, {1, black, 1}, {4, black, 1}});
  EXPECT_EQ(grid.dim(0), like.dim(0));
  EXPECT_NEAR(static_cast<double>(grid.dim(1)), static_cast<double>(like.dim(1)), 20);
  EXPECT_EQ(read_image_info(out + "/grid.png").text.at("tiller.command"),
            "tiller demo --train --seed 7 --train_steps 3 --num_samples 6 --timestep_respacing 2");

  const Checkpoint unet = Checkpoint::open(out + "/unet.safetensors");
  const Inference inference = infer(unet);
  EXPECT_EQ(inference.kind, NetworkKind::unet);
  EXPECT_EQ(inference.unet, demo::unet_config());
  EXPECT_TRUE(inference.assumed.empty());
  EXPECT_EQ(inference.diffusion.at("noise_schedule"), "cosine");
  EXPECT_EQ(load_network(unet, inference).num_classes(), 0);  // it never hears of classes
  const Checkpoint classifier = Checkpoint::open(out + "/classifier.safetensors");
  const Inference second = infer(classifier);
  EXPECT_EQ(second.kind, NetworkKind::classifier);
  EXPECT_EQ(second.diffusion, inference.diffusion);
  EXPECT_EQ(load_network(classifier, second).num_classes(), demo::kClasses);
  EXPECT_NE(classifier.metadata().at("tiller.classes").find("\"yellow ring\""), std::string::npos);
}

TEST(DemoCommand, RefusesWhatItCannotDo) {
  const TemporaryFolder folder;
  const std::string out = folder / "demo";
  const auto refused = [&](int code, const std::string& flag, const std::string& value,
                           const std::string& why) {
    EXPECT_THAT(tiller_expect(code, {"demo", "--train", "--out", out, flag, value}).err,
                HasSubstr(why));
    EXPECT_FALSE(std::filesystem::exists(out));
  };
  refused(2, "--num_samples", "7", "--num_samples 7 is not a multiple of the 6 classes");
  refused(2, "--train_steps", "0", "at least 1");
  refused(2, "--minutes", "-1", "--minutes");
  refused(2, "--timestep_respacing", "ddim501", "ddim501");
  std::ofstream(folder / "file") << "here";
  refused(1, "--out", folder / "file/demo", "cannot make the folder");
}

TEST(DemoCommand, StopsTrainingWhenTheMinutesAreUp) {
  const TemporaryFolder folder;
  const Ended end = tiller_expect(
      0, {"demo", "--train", "--train_steps", "100000", "--minutes", "1e-9", "--num_samples", "6",
          "--timestep_respacing", "1", "--threads", "1", "--out", folder / "demo"});
  EXPECT_THAT(end.err, HasSubstr("UNet: stopped by --minutes after 1 of 100000 steps"));
}

TEST(DemoCommand, CtrlCLeavesNothingHalfDone) {
  const TemporaryFolder folder;
  const std::string out = folder / "demo";
  const Ended end = tiller_expect(
      130, {"demo", "--train", "--train_steps", "100000", "--threads", "1", "--out", out},
      {.interrupt = true});
  EXPECT_THAT(end.err, HasSubstr("interrupted"));
  EXPECT_TRUE(std::filesystem::is_empty(out));
}

}  // namespace
}  // namespace tiller
