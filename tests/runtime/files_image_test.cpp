#include "runtime/files/image.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "runtime/files/mapped_file.h"
#include "runtime/files/npz.h"
#include "tests/runtime/files_util.h"

namespace tiller {
namespace {

using testing::Bytes;
using testing::data_file;
using testing::error_of;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TemporaryFolder;

Tensor read(const std::string& name) { return read_image(data_file("images/" + name)); }

struct Picture {
  const char* name;
  int tolerance;  // in levels: JPEG decoders differ
};

class PictureMode : public ::testing::TestWithParam<Picture> {};

TEST_P(PictureMode, BecomesRgbAsInPil) {
  const Tensor image = read(GetParam().name);
  const Tensor expected = NpzReader::open(data_file("images/more.npz")).read(GetParam().name);
  ASSERT_EQ(image.shape(), expected.shape());
  int worst = 0;
  for (std::int64_t i = 0; i < image.numel(); ++i)
    worst =
        std::max(worst, std::abs(image.data<std::uint8_t>()[i] - expected.data<std::uint8_t>()[i]));
  EXPECT_LE(worst, GetParam().tolerance);
}

INSTANTIATE_TEST_SUITE_P(Image, PictureMode,
                         ::testing::Values(Picture{"gray.png", 0}, Picture{"palette.png", 0},
                                           Picture{"rgba.png", 0}, Picture{"la.png", 0},
                                           Picture{"one_bit.png", 0}, Picture{"gif.gif", 0},
                                           Picture{"base.jpg", 2}, Picture{"progressive.jpg", 2},
                                           Picture{"s444.jpg", 2}, Picture{"cmyk.jpg", 2}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

// PIL clips 16-bit grey at 255; a scaled picture is what its owner sees elsewhere.
TEST(Image, SixteenBitGreyIsScaled) {
  EXPECT_EQ(read("gray16.png").to_vector<std::uint8_t>(),
            read("gray.png").to_vector<std::uint8_t>());
}

Tensor ramp(std::int64_t channels) {
  std::vector<std::uint8_t> values;
  for (std::int64_t i = 0; i < 7 * 5 * channels; ++i)
    values.push_back(static_cast<std::uint8_t>(i * i * 31 % 256));
  return Tensor::from(values, {7, 5, channels});
}

TEST(Image, PngRoundTripWithText) {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> text = {
      {"tiller:config", "{\"steps\": 250}"}, {"Title", "a gr\xc3\xbc\xc3\x9f"}, {"empty", ""}};
  write_png(folder / "a.png", ramp(3), text);
  EXPECT_EQ(read_image(folder / "a.png").to_vector<std::uint8_t>(),
            ramp(3).to_vector<std::uint8_t>());
  const ImageInfo info = read_image_info(folder / "a.png");
  EXPECT_EQ(info.width, 5);
  EXPECT_EQ(info.height, 7);
  EXPECT_EQ(info.channels, 3);
  EXPECT_EQ(info.bit_depth, 8);
  EXPECT_EQ(info.text, text);
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(Image, EveryFilterIsUndone) {  // a smooth picture makes the encoder choose among all of them
  const TemporaryFolder folder;
  std::vector<std::uint8_t> values;
  for (int y = 0; y < 64; ++y)
    for (int x = 0; x < 48 * 3; ++x)
      values.push_back(static_cast<std::uint8_t>((y / 8 % 4) * x / 2 + (y % 8) * 9 + x * y % 5));
  write_png(folder / "a.png", Tensor::from(values, {64, 48, 3}));
  EXPECT_EQ(read_image(folder / "a.png").to_vector<std::uint8_t>(), values);
}

TEST(Image, GreyAndAlpha) {
  const TemporaryFolder folder;
  write_png(folder / "grey.png", ramp(1));
  write_png(folder / "alpha.png", ramp(4));
  const Tensor grey = read_image(folder / "grey.png"), alpha = read_image(folder / "alpha.png");
  for (std::int64_t i = 0; i < 35; ++i) {
    for (std::int64_t c = 0; c < 3; ++c) {
      EXPECT_EQ(grey.data<std::uint8_t>()[3 * i + c], ramp(1).data<std::uint8_t>()[i]);
      EXPECT_EQ(alpha.data<std::uint8_t>()[3 * i + c], ramp(4).data<std::uint8_t>()[4 * i + c]);
    }
  }
  EXPECT_EQ(read_image_info(folder / "alpha.png").channels, 4);
}

TEST(Image, InfoOfOthers) {
  const ImageInfo jpeg = read_image_info(data_file("images/base.jpg"));
  EXPECT_EQ(jpeg.width, 40);
  EXPECT_EQ(jpeg.height, 30);
  EXPECT_TRUE(jpeg.text.empty());
  EXPECT_EQ(read_image_info(data_file("images/gray16.png")).bit_depth, 16);
  EXPECT_EQ(read_image_info(data_file("images/gif.gif")).width, 40);
}

TEST(Image, WhatCannotBeWritten) {
  const TemporaryFolder folder;
  const std::string path = folder / "a.png";
  EXPECT_THAT(error_of([&] {
                write_png(path, Tensor::zeros({2, 2, 3}));
              }),
              HasSubstr("f32[2,2,3]"));
  EXPECT_THAT(error_of([&] { write_png(path, ramp(2)); }), HasSubstr("C of 1, 3 or 4"));
  EXPECT_THAT(error_of([&] { write_png(path, ramp(3), {{"", "x"}}); }), HasSubstr("keyword"));
  EXPECT_THAT(error_of([&] {
                write_png(path, ramp(3), {{std::string(80, 'k'), "x"}});
              }),
              HasSubstr("keyword"));
  EXPECT_EQ(folder.entries(), 0u);
  EXPECT_THAT(error_of([&] { write_png("/dev/full", ramp(3)); }), HasSubstr("No space left"));
}

std::string parse(const Bytes& bytes) {
  ErrorKind kind{};
  const std::string message =
      error_of([&] { parse_image(*MappedFile::copy(bytes, "x.png")); }, &kind);
  EXPECT_EQ(kind, ErrorKind::failed);
  return message;
}

TEST(Image, DamageIsNamed) {
  Bytes png = read_bytes(data_file("images/rgba.png"));
  Bytes jpeg = read_bytes(data_file("images/base.jpg"));
  const auto first_half = [](const Bytes& b) { return Bytes(b.begin(), b.begin() + b.size() / 2); };
  EXPECT_THAT(parse(first_half(png)), HasSubstr("truncated"));
  EXPECT_THAT(parse(first_half(jpeg)), HasSubstr("truncated"));
  EXPECT_THAT(parse(first_half(read_bytes(data_file("images/gif.gif")))), HasSubstr("truncated"));
  png[png.size() / 2] ^= 1;
  EXPECT_THAT(parse(png), HasSubstr("checksum"));
  EXPECT_THAT(parse({'R', 'I', 'F', 'F', 0, 0, 0, 0}), HasSubstr("WebP"));
  EXPECT_THAT(error_of([] { read("none.png"); }), HasSubstr("no such file"));
}

TEST(Image, ClaimedSizesAreNotBelieved) {
  Bytes gif = read_bytes(data_file("images/gif.gif"));
  gif[6] = gif[7] = gif[8] = gif[9] = 0xFF;
  EXPECT_THAT(parse(gif), HasSubstr("65535x65535"));
  Bytes jpeg = read_bytes(data_file("images/base.jpg"));
  const std::uint8_t frame[] = {0xFF, 0xC0};
  const auto at = std::search(jpeg.begin(), jpeg.end(), std::begin(frame), std::end(frame));
  std::fill_n(at + 5, 4, std::uint8_t{0x3F});
  EXPECT_THAT(parse(jpeg), HasSubstr("cannot hold"));
}

TEST(Image, JpegTablesAreChecked) {
  const Bytes jpeg = read_bytes(data_file("images/base.jpg"));
  const auto find = [&](std::uint8_t marker) {
    const std::uint8_t pair[] = {0xFF, marker};
    return std::search(jpeg.begin(), jpeg.end(), std::begin(pair), std::end(pair)) - jpeg.begin();
  };
  Bytes full = jpeg;  // counts of codes that no code can have
  std::fill_n(full.begin() + find(0xC4) + 5, 16, std::uint8_t{0xFF});
  EXPECT_THAT(parse(full), HasSubstr("more codes than there are"));
  Bytes unknown = jpeg;  // the first component's tables are numbers 3 and 3
  unknown[static_cast<std::size_t>(find(0xDA)) + 6] = 0x33;
  EXPECT_THAT(parse(unknown), HasSubstr("Huffman table 3 is missing"));
  Bytes without = jpeg;  // the quantization table becomes a comment
  without[static_cast<std::size_t>(find(0xDB)) + 1] = 0xFE;
  EXPECT_THAT(parse(without), HasSubstr("quantization table 0 is missing"));
}

}  // namespace
}  // namespace tiller
