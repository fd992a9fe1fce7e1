#include "tools/data/crop.h"

#include <gmock/gmock.h>

#include <map>

#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tests/runtime/files_util.h"
#include "tools/data/resample.h"

namespace tiller {
namespace {

using testing::data_file;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using Values = std::vector<std::uint8_t>;

Values values_of(const Tensor& picture) { return picture.to_vector<std::uint8_t>(); }

Tensor picture(int i) { return read_image(data_file(fmt::format("images/picture_{}.png", i))); }

// A picture without symmetry in any direction or channel.
Tensor textured(std::int64_t h, std::int64_t w, std::int64_t c) {
  Values values;
  for (std::int64_t i = 0; i < h * w * c; ++i)
    values.push_back(static_cast<std::uint8_t>(i * i * 31 % 251 + i % 5));
  return Tensor::from(values, {h, w, c});
}

TEST(Crop, CentreAsGuidedDiffusion) {  // 130x97, 211x300, 64x64 and 52x40 pixels, to 64 and 32
  const NpzReader expected = NpzReader::open(data_file("images/crops.npz"));
  for (int i = 0; i < 4; ++i)
    for (const std::int64_t size : {64, 32})
      EXPECT_EQ(values_of(center_crop(picture(i), size)),
                values_of(expected.read(fmt::format("picture_{}.center_crop_{}", i, size))))
          << i << " to " << size;
}

TEST(Crop, RandomAsGuidedDiffusion) {
  const NpzReader expected = NpzReader::open(data_file("images/more.npz"));
  const std::map<std::string, CropPlace> places = {{"random_64_0_0", {64, 0, 0}},
                                                   {"random_80_13_5", {80, 13, 5}},
                                                   {"random_71_7_0", {71, 7, 0}}};
  for (const auto& [name, place] : places)
    EXPECT_EQ(values_of(crop(picture(1), 64, place)), values_of(expected.read(name))) << name;
}

TEST(Crop, JpegWithinTheDecodersDifference) {
  // The same picture as PIL decodes it, cropped by PIL's arithmetic.
  const Tensor ours = read_image(data_file("images/base.jpg"));  // 30x40
  const Tensor theirs = NpzReader::open(data_file("images/more.npz")).read("base.jpg");
  const Values a = values_of(center_crop(ours, 16)), b = values_of(center_crop(theirs, 16));
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_LE(std::abs(a[i] - b[i]), 2) << i;
}

TEST(Crop, SizesRoundAsInPython) {
  // 15 * (5 / 6) is 12.5, which goes to 12; 9 * (5 / 6) is 7.5, which goes to 8.
  EXPECT_EQ(center_place(6, 15, 5).left, 3);
  EXPECT_EQ(center_place(15, 6, 5).top, 3);
  EXPECT_EQ(center_place(6, 9, 5).left, 1);
  // 300x211 is halved once on the way to 64 (150x105), and becomes 91x64.
  EXPECT_EQ(center_place(300, 211, 64).top, 13);
  EXPECT_EQ(center_place(300, 211, 64).left, 0);
}

TEST(Crop, RandomPlacesSpanEverythingAllowed) {
  std::map<std::int64_t, int> sides;
  std::int64_t top = 0, left = 0;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    const PhiloxWords words = philox({{i, 0, 0, 0}}, 7, 0);
    const CropPlace place = random_place(40, 30, 16, words);
    ++sides[place.shorter];
    top = std::max(top, place.top);
    left = std::max(left, place.left);
    ASSERT_GE(place.top, 0);
    ASSERT_GE(place.left, 0);
  }
  // ceil(16 / 0.8) is 20: five sides, each about 400 times.
  EXPECT_EQ(sides.size(), 5u);
  for (const auto& [side, count] : sides) {
    EXPECT_TRUE(side >= 16 && side <= 20) << side;
    EXPECT_NEAR(count, 400, 80) << side;
  }
  EXPECT_EQ(left, 4);  // 20 - 16
  EXPECT_EQ(top, 11);  // 40 * 20 / 30 is 26.7: 27 - 16
  const Values cut = values_of(random_crop(textured(40, 30, 3), 16, philox({{3, 0, 0, 0}}, 7, 0)));
  const CropPlace place = random_place(40, 30, 16, philox({{3, 0, 0, 0}}, 7, 0));
  EXPECT_EQ(cut, values_of(crop(textured(40, 30, 3), 16, place)));
}

TEST(Crop, AnyShapeAndChannelCount) {
  for (const std::int64_t c : {1, 2, 3, 5}) {
    EXPECT_EQ(center_crop(textured(1, 1, c), 8).shape(), Shape({8, 8, c}));
    EXPECT_EQ(center_crop(textured(3, 500, c), 4).shape(), Shape({4, 4, c}));
    EXPECT_EQ(center_crop(textured(97, 61, c), 1).shape(), Shape({1, 1, c}));
    EXPECT_EQ(values_of(center_crop(textured(9, 9, c), 9)), values_of(textured(9, 9, c)));
  }
  // A line of 100000 pixels scaled up 256 times would take 20 GB; only its middle is computed.
  EXPECT_EQ(center_crop(Tensor::zeros({1, 100000, 3}, DType::u8), 256).shape(),
            Shape({256, 256, 3}));
  EXPECT_THAT(error_of([] { center_crop(textured(2, 2, 3), 0); }), HasSubstr("0x0"));
  EXPECT_THAT(error_of([] { center_crop(Tensor::zeros({2, 2, 3}), 2); }), HasSubstr("u8[H,W,C]"));
}

TEST(Resample, BoxHalvesAverageFourPixels) {
  // Rounded after each pass: (10 + 21) / 2 -> 16, (1 + 2) / 2 -> 2, then 9.
  const Tensor four = Tensor::from(Values{10, 21, 1, 2}, {2, 2, 1});
  EXPECT_THAT(values_of(resample(four, 1, 1, Filter::box)), ElementsAre(9));
  EXPECT_THAT(values_of(resample(Tensor::from(Values{0, 90, 255}, {1, 3, 1}), 1, 1, Filter::box)),
              ElementsAre(115));
  // A pixel whose middle lies on the border of two counts to the left one.
  EXPECT_THAT(
      values_of(resample(Tensor::from(Values{10, 20, 60, 100, 200}, {1, 5, 1}), 1, 2, Filter::box)),
      ElementsAre(30, 150));
}

TEST(Resample, BicubicOvershootsAndIsClamped) {
  const Tensor edge = Tensor::from(Values{0, 0, 0, 200, 200, 200}, {1, 6, 1});
  // Keys' weights half-way between pixels are -1/16, 9/16, 9/16, -1/16; here at quarters:
  // -9/128, 111/128, 29/128, -3/128.
  EXPECT_THAT(values_of(resample(edge, 1, 12, Filter::bicubic)),
              ElementsAre(0, 0, 0, 0, 0, 41, 159, 214, 205, 200, 200, 200));
}

TEST(Resample, AWindowIsThatPartOfTheWhole) {
  const Tensor source = textured(23, 31, 3);
  const Tensor whole = resample(source, 40, 17, Filter::bicubic);
  const Tensor part = resample(source, 40, 17, Filter::bicubic, {11, 3, 20, 9});
  ASSERT_EQ(part.shape(), Shape({20, 9, 3}));
  for (std::int64_t y = 0; y < 20; ++y)
    for (std::int64_t i = 0; i < 27; ++i)
      ASSERT_EQ(part.data<std::uint8_t>()[y * 27 + i],
                whole.data<std::uint8_t>()[(y + 11) * 51 + 9 + i]);
  EXPECT_THAT(error_of([&] {
                resample(source, 40, 17, Filter::box, {21, 3, 20, 9});
              }),
              HasSubstr("leave"));
}

TEST(Resample, ChannelsDoNotMix) {
  const Tensor three = textured(14, 11, 3), five = textured(14, 11, 5);
  for (const Tensor& all : {three, five})
    for (std::int64_t c = 0; c < all.dim(2); ++c)
      EXPECT_EQ(values_of(resample(all.channels(c, c + 1).contiguous(), 9, 20, Filter::bicubic)),
                values_of(resample(all, 9, 20, Filter::bicubic).channels(c, c + 1)));
}

}  // namespace
}  // namespace tiller
