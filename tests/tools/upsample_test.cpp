// tiller upsample through the real program.
#include "tests/tools/sample_util.h"
#include "tools/data/crop.h"

namespace tiller::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

UNetConfig smallest_upsampler(std::int64_t num_classes = 0) {
  UNetConfig config = smallest_unet();
  config.super_resolution = true;
  config.image_size = 16;
  config.num_classes = num_classes;
  return config;
}

// Four-pixel pictures, each of one value, and their labels.
void write_base(const std::string& path, std::int64_t count,
                const std::vector<std::int64_t>& labels) {
  std::vector<std::uint8_t> pixels;
  for (std::int64_t i = 0; i < count; ++i)
    pixels.insert(pixels.end(), 4 * 4 * 3, static_cast<std::uint8_t>(60 * i));
  NpzWriter file(path);
  file.write("arr_0", Tensor::from(pixels, {count, 4, 4, 3}));
  if (!labels.empty()) file.write("arr_1", Tensor::from(labels, {count}));
  file.finish();
}

// super_res_sample's pictures, from the same small pictures and the same noise.
TEST(Upsample, EndsInPyTorchsPictures) {
  const char* reference = std::getenv("TILLER_REFERENCE_DIR");
  if (reference == nullptr) GTEST_SKIP() << "TILLER_REFERENCE_DIR is not set";
  const std::string base = reference, sample = base + "/sample_superres.npz";
  const TemporaryFolder folder;
  const NpzReader theirs = NpzReader::open(sample);
  NpzWriter input(folder / "base.npz");
  const Tensor low = theirs.read("low_res");  // [N,C,h,w]
  input.write("arr_0", from_file_layout(low, {2, 16, 16, 3}, FileLayout::oihw));
  input.write("arr_1", theirs.read("y"));
  input.finish();
  tiller_expect(0, {"upsample", "--model_path", base + "/superres_64.pt", "--num_heads", "4",
                    "--base_samples", folder / "base.npz", "--noise", sample,
                    "--timestep_respacing", "6", "--out", folder / "o"});
  const NpzReader ours = NpzReader::open(folder / "o/samples_2x64x64x3.npz");
  expect_same_pictures(ours.read("arr_0"), theirs.read("images"));
  EXPECT_EQ(ours.read("arr_1").to_vector<std::int64_t>(),
            theirs.read("y").to_vector<std::int64_t>());
}

TEST(Upsample, EnlargesEveryPictureOfAnNpzAndKeepsItsLabels) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_upsampler(5));
  write_base(folder / "base.npz", 3, {4, 0, 2});
  const Arguments common = {"upsample",          "--model_path",         model, "--base_samples",
                            folder / "base.npz", "--timestep_respacing", "2"};
  const Ended ended = tiller_expect(0, common + Arguments{"--out", folder / "o"});
  EXPECT_THAT(ended.err, HasSubstr("3 pictures of 4x4"));
  const NpzReader npz = NpzReader::open(folder / "o/samples_3x16x16x3.npz");
  EXPECT_THAT(npz.read("arr_1").to_vector<std::int64_t>(), ElementsAre(4, 0, 2));
  EXPECT_TRUE(files_of(folder / "o").contains("000001_c0.png"));
  // Batches and a later start change nothing, bit for bit.
  tiller_expect(0, common + Arguments{"--batch_size", "2", "--out", folder / "two"});
  EXPECT_EQ(sample_pixels(folder / "o"), sample_pixels(folder / "two"));
  tiller_expect(0, common + Arguments{"--first_index", "2", "--out", folder / "rest"});
  EXPECT_EQ(sample_pixels(folder / "rest").at("000002_c2.png"),
            sample_pixels(folder / "o").at("000002_c2.png"));
  // The script ignores --use_ddim; here it counts. A class that is given counts, too.
  tiller_expect(0, common + Arguments{"--use_ddim", "True", "--out", folder / "ddim"});
  EXPECT_NE(sample_pixels(folder / "ddim"), sample_pixels(folder / "o"));
  tiller_expect(0, common + Arguments{"--classes", "1", "--out", folder / "one"});
  EXPECT_TRUE(files_of(folder / "one").contains("000002_c1.png"));
  // More than there are is no reason to repeat them.
  EXPECT_THAT(
      tiller_expect(0, common + Arguments{"--num_samples", "100", "--out", folder / "o"}).err,
      HasSubstr("so 3 are made"));
}

// Every output of `sample` is an input: its folder, one of its pictures, its npz.
TEST(Upsample, TakesFoldersAndPictures) {
  const TemporaryFolder folder;
  UNetConfig small = smallest_unet();
  small.image_size = 4;
  small.num_classes = 5;
  const std::string base = write_random_unet(folder / "b.safetensors", small);
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_upsampler(5));
  tiller_expect(0, {"sample", "--model_path", base, "--num_samples", "3", "--classes", "3,1",
                    "--timestep_respacing", "1", "--out", folder / "base"});
  const auto upsampled = [&](const std::string& input, const std::string& out) {
    tiller_expect(0, {"upsample", "--model_path", model, "--base_samples", folder / input,
                      "--timestep_respacing", "2", "--out", folder / out});
    return sample_pixels(folder / out);
  };
  const auto of_npz = upsampled("base/samples_3x4x4x3.npz", "npz");
  EXPECT_EQ(of_npz.size(), 3u);
  EXPECT_TRUE(of_npz.contains("000001_c1.png"));
  EXPECT_EQ(upsampled("base", "folder"), of_npz) << "without grid.png";
  EXPECT_EQ(upsampled("base/000000_c3.png", "one").at("000000_c3.png"), of_npz.at("000000_c3.png"));
}

// A size that is asked for is made.
TEST(Upsample, CropsFilesToTheSizeAskedFor) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_upsampler());
  const std::string whole = data_file("images/picture_0.png");
  write_png(folder / "picture_0.png", center_crop(read_image(whole), 4));
  const auto upsampled = [&](const std::string& input, const std::string& out) {
    tiller_expect(0, {"upsample", "--model_path", model, "--base_samples", input, "--small_size",
                      "4", "--timestep_respacing", "1", "--out", folder / out});
    return sample_pixels(folder / out);
  };
  EXPECT_EQ(upsampled(whole, "whole"), upsampled(folder / "picture_0.png", "cropped"));
}

// The network looks at the small picture, and at the one of the right index.
TEST(Upsample, ASmallPictureMatters) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_upsampler());
  write_base(folder / "a.npz", 2, {});
  write_base(folder / "b.npz", 1, {});
  const Arguments common = {"upsample", "--model_path", model, "--timestep_respacing", "1"};
  tiller_expect(0, common + Arguments{"--base_samples", folder / "a.npz", "--out", folder / "a"});
  tiller_expect(0, common + Arguments{"--base_samples", folder / "b.npz", "--out", folder / "b"});
  const auto a = sample_pixels(folder / "a"), b = sample_pixels(folder / "b");
  EXPECT_EQ(a.at("000000.png"), b.at("000000.png"));
  write_base(folder / "c.npz", 3, {});  // its second picture, alone, at the same index
  NpzWriter other(folder / "d.npz");
  other.write("arr_0", NpzReader::open(folder / "c.npz").read("arr_0").slice(1, 2));
  other.finish();
  tiller_expect(0, common + Arguments{"--base_samples", folder / "d.npz", "--out", folder / "d"});
  EXPECT_NE(sample_pixels(folder / "d").at("000000.png"), a.at("000000.png"));
}

TEST(Upsample, BadInput) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_upsampler(5));
  const std::string plain = write_random_unet(folder / "p.safetensors", smallest_unet());
  write_base(folder / "base.npz", 2, {});
  write_base(folder / "wrong.npz", 2, {0, 5});
  NpzWriter odd(folder / "odd.npz");
  odd.write("arr_0", Tensor::zeros({2, 4, 4, 1}, DType::u8));
  odd.finish();
  NpzWriter text(folder / "text.npz");
  text.write("x", Tensor::zeros({2}));
  text.finish();
  std::filesystem::create_directory(folder / "empty");
  const Arguments m = {"--model_path", model};
  const auto with = [&](const std::string& base) { return m + Arguments{"--base_samples", base}; };
  struct Case {
    int code;
    Arguments flags;
    std::string part;
  };
  const Case cases[] = {
      {2, {}, "--model_path"},
      {2, m, "--base_samples"},
      {2, {"--model_path", plain, "--base_samples", folder / "base.npz"}, "tiller sample"},
      {2, with(folder / "base.npz"), "--classes"},
      {1, with(folder / "wrong.npz"), "no class 5"},
      {2, with(folder / "odd.npz"), "1 channels"},
      {3, with(folder / "text.npz"), "arr_0"},
      {1, with(folder / "absent"), "no such file"},
      {1, with(folder / "empty"), "no picture"},
      {2, with(folder / "base.npz") + Arguments{"--small_size", "8", "--classes", "1"},
       "--small_size"},
      {2, with(folder / "base.npz") + Arguments{"--first_index", "2", "--classes", "1"},
       "--first_index 2"},
      {2, with(folder / "base.npz") + Arguments{"--classes", "9"}, "0 to 4"},
  };
  for (const Case& c : cases)
    EXPECT_THAT(tiller_expect(c.code, Arguments{"upsample", "--out", folder / "o"} + c.flags).err,
                HasSubstr(c.part));
  EXPECT_FALSE(std::filesystem::exists(folder / "o"));
}

}  // namespace
}  // namespace tiller::testing
