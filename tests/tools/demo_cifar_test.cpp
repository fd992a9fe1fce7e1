// The demo with trained networks beside the program: where they are found, the grid, the command.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/tools/tiny_models.h"
#include "tools/demo_cifar/grid.h"

namespace tiller::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "here";
}

TEST(DemoModels, AreFoundInTheSourceTreeAndInAnInstallation) {
  const TemporaryFolder folder;
  EXPECT_EQ(demo::find_models_of(folder / "build/release/tiller"), "");
  touch(folder / "tree/tools/demo_models/cifar10_unet.safetensors");
  EXPECT_EQ(demo::find_models_of(folder / "tree/build/release/tiller"),
            folder / "tree/tools/demo_models");
  touch(folder / "prefix/share/tiller/demo_models/cifar10_unet.safetensors");
  EXPECT_EQ(demo::find_models_of(folder / "prefix/bin/tiller"),
            folder / "prefix/share/tiller/demo_models");
  EXPECT_EQ(demo::find_models_of("tiller"), "");
}

// One colour a picture: red says the class, green the row, blue the block.
TEST(DemoGrid, HasAColumnForEachClassAndRowsForEachBlock) {
  std::vector<demo::GridBlock> blocks;
  for (int b = 0; b < 2; ++b) {
    Tensor p = Tensor::empty({6, 4, 4, 3}, DType::u8);
    for (int i = 0; i < 6 * 16; ++i) {
      const int picture = i / 16;
      const int colour[] = {10 * (picture % 3), 50 + picture / 3, 100 + b};
      for (int c = 0; c < 3; ++c)
        p.data<std::uint8_t>()[3 * i + c] = static_cast<std::uint8_t>(colour[c]);
    }
    blocks.push_back({b == 0 ? "unguided" : "scale 4", p});
  }
  const Tensor grid = demo::draw_class_grid(blocks, {"cat", "dog", "emu"});
  std::map<std::array<int, 3>, std::vector<std::int64_t>> places;
  const auto* pixel = grid.data<std::uint8_t>();
  for (std::int64_t i = 0; i < grid.dim(0) * grid.dim(1); ++i)
    places[{pixel[3 * i], pixel[3 * i + 1], pixel[3 * i + 2]}].push_back(i);
  std::int64_t top = -1;
  for (int b = 0; b < 2; ++b)
    for (int row = 0; row < 2; ++row) {
      std::int64_t left = -1;
      for (int label = 0; label < 3; ++label) {
        const auto& place = places[{10 * label, 50 + row, 100 + b}];
        ASSERT_EQ(place.size(), 64u * 64u);  // enlarged to 64 pixels
        EXPECT_GT(place.front() % grid.dim(1), left);
        left = place.front() % grid.dim(1);
      }
      const std::int64_t here = places[{0, 50 + row, 100 + b}].front() / grid.dim(1);
      EXPECT_GT(here, top);
      top = here;
    }
  EXPECT_THAT(error_of([&] {
                demo::draw_class_grid(blocks, {"a", "b", "c", "d"});
              }),
              HasSubstr("fill no rows"));
}

class DemoOfCifar : public ::testing::Test {
 protected:
  Arguments command(const std::string& out, const Arguments& more = {}) const {
    return Arguments{"demo", "--models", models_,  "--num_samples", "6", "--timestep_respacing",
                     "2",    "--scales", "0,1,40", "--out",         out} +
           more;
  }
  TemporaryFolder folder_;
  std::string models_ = write_tiny_models(folder_ / "models");
};

TEST_F(DemoOfCifar, DrawsTheSameGridAgain) {
  const std::string a = folder_ / "new/a", b = folder_ / "b";
  const Ended first = tiller_expect(0, command(a));
  for (const char* part :
       {"share of 6 samples", "unguided", "scale 1 ", "scale 40", "told the class",
        "told, scale 1 ", "tiller sample --model_path", "--classifier_scale 40"})
    EXPECT_THAT(first.out, HasSubstr(part));
  EXPECT_THAT(first.err, HasSubstr("DDPM, 2 of 1000 steps"));
  EXPECT_THAT(first.out, HasSubstr("--use_ddim False --timestep_respacing 2 "));
  tiller_expect(0, command(b));
  EXPECT_EQ(read_bytes(a + "/grid.png"), read_bytes(b + "/grid.png"));
  tiller_expect(0, command(b, {"--seed", "1"}));
  EXPECT_NE(read_image(a + "/grid.png").to_vector<std::uint8_t>(),
            read_image(b + "/grid.png").to_vector<std::uint8_t>());
  EXPECT_THAT(
      read_image_info(a + "/grid.png").text.at("tiller.command"),
      AllOf(HasSubstr("tiller demo "), HasSubstr("--seed 0"), HasSubstr("--num_samples 6")));

  // Five blocks of two rows of three columns; without the conditional network, three.
  const std::int64_t height = read_image(a + "/grid.png").dim(0);
  fs::remove(models_ + "/" + demo::kConditionalUnetFile);
  fs::remove(models_ + "/" + demo::kJudgeFile);
  const Ended smaller = tiller_expect(0, command(b, {"--timestep_respacing", "ddim2"}));
  EXPECT_THAT(smaller.err, HasSubstr("DDIM with eta 0, 2 of 1000 steps"));
  EXPECT_THAT(smaller.out, HasSubstr("--use_ddim True --timestep_respacing ddim2 "));
  EXPECT_THAT(smaller.out, AllOf(Not(HasSubstr("told the class")), Not(HasSubstr("share of"))));
  EXPECT_EQ(height - read_image(b + "/grid.png").dim(0), 2 * 2 * (64 + 4));
}

TEST_F(DemoOfCifar, RefusesWhatItCannotDo) {
  const auto refused = [&](const Arguments& more, const std::string& why) {
    EXPECT_THAT(tiller_expect(2, command(folder_ / "o", more)).err, HasSubstr(why));
    EXPECT_FALSE(fs::exists(folder_ / "o"));
  };
  refused({"--num_samples", "7"}, "--num_samples 7 is not a multiple of the 3 classes");
  refused({"--models", folder_ / "none"}, "the network is missing");
  refused({"--timestep_respacing", "ddim501"}, "ddim501");
  refused({"--device", "meta"}, "nothing to show");
}

}  // namespace
}  // namespace tiller::testing
