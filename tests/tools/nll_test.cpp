// tiller nll through the real program: bits per dimension against PyTorch's.
#include "tests/tools/sample_util.h"
#include "tools/data/crop.h"

namespace tiller::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void expect_close(const Tensor& ours, const Tensor& theirs, double tolerance) {
  ASSERT_EQ(ours.shape(), theirs.shape());
  double error = 0, norm = 0;
  const auto a = ours.to_vector<float>(), b = theirs.to_vector<float>();
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  EXPECT_LE(std::sqrt(error), tolerance * std::sqrt(norm));
}

// The pictures of the reference, which are no 8-bit ones, as an npz that the program takes.
void write_pictures(const std::string& path, const NpzReader& reference) {
  NpzWriter file(path);
  file.write("arr_0", from_file_layout(reference.read("x0"), {2, 16, 16, 3}, FileLayout::oihw));
  file.write("arr_1", reference.read("y"));
  file.finish();
}

TEST(Nll, AgreesWithPyTorch) {
  const TemporaryFolder folder;
  const NpzReader theirs = NpzReader::open(data_file("nll.npz"));
  write_pictures(folder / "in.npz", theirs);
  for (const char* batch : {"1", "2"}) {
    const Ended ended =
        tiller_expect(0, Arguments{"nll", "--data_dir", folder / "in.npz", "--noise",
                                   data_file("nll.npz"), "--timestep_respacing", "20",
                                   "--batch_size", batch, "--out", folder / "out.npz"} +
                             unguided());
    const NpzReader ours = NpzReader::open(folder / "out.npz");
    expect_close(ours.read("total"), theirs.read("total_bpd"), 1e-4);
    expect_close(ours.read("prior"), theirs.read("prior_bpd"), 1e-3);
    for (const char* name : {"vb", "xstart_mse", "mse"})
      expect_close(ours.read(name), theirs.read(name), 1e-4);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("37.579"), HasSubstr("mean of 2 pictures")));
  }
}

// Each picture once, whatever the count asked for; the seed decides the noise.
TEST(Nll, TakesFoldersAndRepeatsNothing) {
  const TemporaryFolder folder;
  UNetConfig config = smallest_unet();
  config.num_classes = 3;
  const std::string model = write_random_unet(folder / "m.safetensors", config);
  std::filesystem::create_directories(folder / "data/deeper");
  std::vector<std::uint8_t> pixels(8 * 8 * 3);
  const auto write = [&](const std::string& name, std::uint8_t value) {
    std::fill(pixels.begin(), pixels.end(), value);
    write_png(folder / ("data/" + name), Tensor::from(pixels, {8, 8, 3}));
  };
  write("dog_1.png", 0);
  write("deeper/cat_7.png", 99);
  write("cat_2.png", 200);
  const Arguments common = {"nll",           "--model_path",         model, "--data_dir",
                            folder / "data", "--timestep_respacing", "4"};
  const auto totals = [&](const Arguments& more) {
    const std::string out = folder / "nll.npz";
    tiller_expect(0, common + Arguments{"--out", out} + more);
    return NpzReader::open(out).read("total").to_vector<float>();
  };
  const auto all = totals({});
  EXPECT_EQ(all.size(), 3u);
  EXPECT_EQ(totals({"--num_samples", "9", "--batch_size", "2"}), all);
  EXPECT_EQ(totals({"--num_samples", "2"}), std::vector<float>(all.begin(), all.begin() + 2));
  EXPECT_NE(totals({"--seed", "1"}), all);
}

// A folder's pictures are cropped as image_nll.py crops them.
TEST(Nll, CropsFilesOfAnotherSize) {
  const TemporaryFolder folder;
  const std::string model = write_random_unet(folder / "m.safetensors", smallest_unet());
  std::filesystem::create_directories(folder / "whole");
  std::filesystem::create_directories(folder / "cropped");
  for (int i = 0; i < 2; ++i) {
    const std::string name = fmt::format("/picture_{}.png", i);
    std::filesystem::copy(data_file("images" + name), folder / ("whole" + name));
    write_png(folder / ("cropped" + name), center_crop(read_image(data_file("images" + name)), 8));
  }
  const auto run = [&](int code, const std::string& data, const Arguments& more) {
    return tiller_expect(code,
                         Arguments{"nll", "--model_path", model, "--data_dir", folder / data,
                                   "--timestep_respacing", "2", "--out", folder / data + ".npz"} +
                             more)
        .err;
  };
  EXPECT_THAT(run(0, "whole", {"--image_size", "8"}),
              HasSubstr("2 of the pictures are scaled and cropped to 8x8"));
  EXPECT_THAT(run(0, "cropped", {"--image_size", "8"}), ::testing::Not(HasSubstr("cropped to")));
  const auto totals = [&](const std::string& data) {
    return NpzReader::open(folder / data + ".npz").read("total").to_vector<float>();
  };
  EXPECT_EQ(totals("whole"), totals("cropped"));
  EXPECT_NE(totals("whole")[0], totals("whole")[1]);
}

TEST(Nll, BadInput) {
  const TemporaryFolder folder;
  const NpzReader theirs = NpzReader::open(data_file("nll.npz"));
  write_pictures(folder / "in.npz", theirs);
  UNetConfig config = smallest_unet();
  config.num_classes = 3;
  const std::string model = write_random_unet(folder / "m.safetensors", config);
  write_png(folder / "plain.png", Tensor::zeros({8, 8, 3}, DType::u8));
  struct Case {
    int code;
    Arguments flags;
    std::string part;
  };
  const Case cases[] = {
      {2, {}, "--model_path"},
      {2, unguided(), "--data_dir"},
      {1, unguided() + Arguments{"--data_dir", folder / "absent"}, "no such file"},
      {2, Arguments{"--model_path", model, "--data_dir", folder / "plain.png"}, "CLASS_"},
      {2, Arguments{"--model_path", model, "--data_dir", folder / "in.npz"}, "no class"},
      {2, unguided() + Arguments{"--data_dir", folder / "in.npz", "--image_size", "32"},
       "is for 32x32"},
      {2,
       unguided() + Arguments{"--data_dir", folder / "in.npz", "--noise", data_file("nll.npz"),
                              "--timestep_respacing", "30"},
       "need [30,2,3,16,16]"},
  };
  for (const Case& c : cases)
    EXPECT_THAT(tiller_expect(c.code, Arguments{"nll", "--out", folder / "o.npz"} + c.flags).err,
                HasSubstr(c.part));
  EXPECT_FALSE(std::filesystem::exists(folder / "o.npz"));
}

}  // namespace
}  // namespace tiller::testing
