#include "runtime/files/npz.h"

#include <gmock/gmock.h>

#include "runtime/files/mapped_file.h"
#include "tests/runtime/files_util.h"

namespace tiller {
namespace {

using testing::Bytes;
using testing::data_file;
using testing::error_of;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TemporaryFolder;

template <class T>
void expect_count(const Tensor& t) {
  ASSERT_EQ(t.shape(), Shape({2, 3, 4}));
  const std::vector<T> values = t.to_vector<T>();
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(static_cast<double>(values[i]), static_cast<double>(i));
}

class NumpyFile : public ::testing::TestWithParam<const char*> {};

TEST_P(NumpyFile, EveryTypeIsRead) {
  const NpzReader npz = NpzReader::open(data_file(GetParam()));
  expect_count<f16>(npz.read("f2"));
  expect_count<float>(npz.read("f4"));
  expect_count<double>(npz.read("f8"));
  expect_count<std::int8_t>(npz.read("i1"));
  expect_count<std::int16_t>(npz.read("i2"));
  expect_count<std::int32_t>(npz.read("i4"));
  expect_count<std::int64_t>(npz.read("i8"));
  expect_count<std::uint8_t>(npz.read("u1"));
  expect_count<float>(npz.read("fortran"));
  const Tensor flags = npz.read("bool");
  EXPECT_EQ(flags.dtype(), DType::boolean);
  EXPECT_TRUE(flags.data<bool>()[0]);
  EXPECT_FALSE(flags.data<bool>()[1]);
  EXPECT_EQ(npz.read("scalar").rank(), 0);
  EXPECT_EQ(*npz.read("scalar").data<std::int64_t>(), 5);
  EXPECT_EQ(npz.read("empty").shape(), Shape({0, 3}));
  EXPECT_EQ(npz.arrays().size(), 13u);
  EXPECT_EQ(npz.info("f4").compressed,
            std::string(GetParam()).find("deflated") != std::string::npos);
}

TEST_P(NumpyFile, StreamsInBlocks) {
  const NpzReader npz = NpzReader::open(data_file(GetParam()));
  std::vector<float> seen;
  npz.stream("vector", 300, [&](std::int64_t first, const Tensor& block) {
    EXPECT_EQ(first, static_cast<std::int64_t>(seen.size()));
    EXPECT_LE(block.dim(0), 300);
    for (const float v : block.to_vector<float>()) seen.push_back(v);
  });
  ASSERT_EQ(seen.size(), 1000u);
  for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<float>(i));
  std::vector<float> scattered;
  npz.stream("fortran", 1, [&](std::int64_t, const Tensor& block) {
    for (const float v : block.to_vector<float>()) scattered.push_back(v);
  });
  ASSERT_EQ(scattered.size(), 24u);
  EXPECT_EQ(scattered[13], 13.0f);
}

INSTANTIATE_TEST_SUITE_P(Npz, NumpyFile,
                         ::testing::Values("files/stored.npz", "files/deflated.npz"));

TEST(Npz, PlainNpy) {
  expect_count<float>(NpzReader::open(data_file("files/plain.npy")).read(""));
  expect_count<double>(NpzReader::open(data_file("files/version2.npy")).read(""));
}

TEST(Npz, UnreadableArraysSayWhyAndLeaveTheOthers) {
  const NpzReader npz = NpzReader::open(data_file("files/odd.npz"));
  expect_count<std::int64_t>(npz.read("good"));
  EXPECT_FALSE(npz.contains("big"));
  EXPECT_THAT(error_of([&] { npz.read("big"); }), HasSubstr("big-endian"));
  EXPECT_THAT(error_of([&] { npz.read("text"); }), HasSubstr("text, not numbers"));
  EXPECT_THAT(error_of([&] { npz.read("objects"); }), HasSubstr("Python objects"));
  EXPECT_THAT(error_of([&] { npz.read("complex"); }), HasSubstr("'<c8'"));
  EXPECT_THAT(error_of([&] { npz.read("records"); }), HasSubstr("records"));
  EXPECT_THAT(error_of([&] { npz.read("deep"); }), HasSubstr("8 dimensions"));
  EXPECT_THAT(error_of([&] { npz.read("nothing"); }), HasSubstr("it has: good"));
}

// What numpy wrote and what we write from the same arrays is the same file, bit for bit.
void expect_same_file(const std::string& reference, bool compress) {
  const TemporaryFolder folder;
  const NpzReader npz = NpzReader::open(data_file(reference));
  NpzWriter writer(folder / "copy.npz", compress);
  for (const ArrayInfo& info : npz.arrays()) {
    if (info.fortran_order) break;  // ours is always C order; it stands last
    writer.write(info.name, npz.read(info.name));
  }
  writer.finish();
  const Bytes expected = read_bytes(data_file(reference));
  const Bytes copy = read_bytes(folder / "copy.npz");
  const std::string marker = "PK\x01\x02";  // the directory differs by the array left out
  const auto members =
      std::search(copy.begin(), copy.end(), marker.begin(), marker.end()) - copy.begin();
  ASSERT_LE(members, static_cast<std::ptrdiff_t>(expected.size()));
  EXPECT_TRUE(std::equal(copy.begin(), copy.begin() + members, expected.begin()));
  EXPECT_EQ(NpzReader::open(folder / "copy.npz").arrays().size(), npz.arrays().size() - 1);
  EXPECT_EQ(folder.entries(), 1u);
}

TEST(Npz, WritesWhatNumpyWrites) { expect_same_file("files/stored.npz", false); }
TEST(Npz, DeflatedReadsBack) {
  const TemporaryFolder folder;
  const NpzReader npz = NpzReader::open(data_file("files/stored.npz"));
  NpzWriter writer(folder / "copy.npz", true);
  for (const ArrayInfo& info : npz.arrays()) writer.write(info.name, npz.read(info.name));
  writer.finish();
  const NpzReader copy = NpzReader::open(folder / "copy.npz");
  EXPECT_TRUE(copy.info("vector").compressed);
  EXPECT_EQ(copy.read("vector").to_vector<float>(), npz.read("vector").to_vector<float>());
  expect_count<float>(copy.read("fortran"));
}

TEST(Npz, NpyIsWrittenAsNumpyWritesIt) {
  const TemporaryFolder folder;
  write_npy(folder / "plain.npy", NpzReader::open(data_file("files/plain.npy")).read(""));
  EXPECT_EQ(read_bytes(folder / "plain.npy"), read_bytes(data_file("files/plain.npy")));
}

TEST(Npz, StreamedWriting) {
  const TemporaryFolder folder;
  for (const bool compress : {false, true}) {
    NpzWriter writer(folder / "s.npz", compress);
    writer.begin("arr_0", DType::u8, {5, 2, 2, 3});
    for (int i = 0; i < 5; ++i)
      writer.append(
          Tensor::from(std::vector<std::uint8_t>(12, static_cast<std::uint8_t>(i)), {1, 2, 2, 3}));
    writer.write("arr_1", Tensor::from(std::vector<std::int64_t>{7, 8}, {2}));
    EXPECT_FALSE(std::filesystem::exists(folder / "s.npz") && !compress);
    writer.finish();
    const NpzReader npz = NpzReader::open(folder / "s.npz");
    EXPECT_EQ(npz.read("arr_0").data<std::uint8_t>()[59], 4);
    EXPECT_EQ(npz.read("arr_1").data<std::int64_t>()[1], 8);
  }
}

TEST(Npz, WrongUseIsRefusedAndLeavesNothing) {
  const TemporaryFolder folder;
  {
    NpzWriter writer(folder / "s.npz");
    writer.begin("a", DType::f32, {2, 3});
    EXPECT_THAT(error_of([&] {
                  writer.append(Tensor::zeros({1, 4}));
                }),
                HasSubstr("does not continue"));
    writer.append(Tensor::zeros({1, 3}));
    EXPECT_THAT(error_of([&] { writer.finish(); }), HasSubstr("12 bytes are missing"));
    EXPECT_THAT(error_of([&] { writer.write("b", Tensor::zeros({2}, DType::bf16)); }),
                HasSubstr("missing"));
  }
  EXPECT_EQ(folder.entries(), 0u);
}

// 5 GiB of zeros in a sparse file: the sizes need ZIP64 everywhere, the disk holds almost nothing.
TEST(Npz, MembersOverFourGiB) {
  const TemporaryFolder folder;
  const std::int64_t rows = 5 << 10, row = std::int64_t{1} << 20;
  const std::string header = "\x93NUMPY\x01";
  const std::string path = folder / "big.npz";
  {
    NpzWriter writer(folder / "small.npz");
    writer.write("tail", Tensor::from(std::vector<float>{42}, {1}));
    writer.finish();
  }
  // A central directory with ZIP64 sizes and offsets, written by hand.
  const std::string text =
      fmt::format("{{'descr': '|u1', 'fortran_order': False, 'shape': ({}, {}), }}", rows, row);
  std::string npy = header + '\0' + static_cast<char>(text.size() + 1) + '\0' + text + '\n';
  const std::uint64_t size = npy.size() + static_cast<std::uint64_t>(rows * row);
  const auto number = [](std::uint64_t value, int bytes) {
    std::string result;
    for (int i = 0; i < bytes; ++i) result += static_cast<char>(value >> (8 * i));
    return result;
  };
  const std::string name = "arr_0.npy";
  const std::string zip64 = number(1, 2) + number(16, 2) + number(size, 8) + number(size, 8);
  const std::string local = number(0x04034b50, 4) + number(45, 2) + number(0, 8) + number(0, 4) +
                            number(0xFFFFFFFF, 4) + number(0xFFFFFFFF, 4) + number(name.size(), 2) +
                            number(zip64.size(), 2) + name + zip64;
  const std::uint64_t directory = local.size() + size;
  const std::string central = number(0x02014b50, 4) + number(45, 2) + number(45, 2) + number(0, 8) +
                              number(0, 4) + number(0xFFFFFFFF, 4) + number(0xFFFFFFFF, 4) +
                              number(name.size(), 2) + number(zip64.size(), 2) + number(0, 2) +
                              number(0, 8) + number(0, 4) + name + zip64;
  const std::uint64_t end = directory + central.size();
  const std::string tail = central + number(0x06064b50, 4) + number(44, 8) + number(45, 2) +
                           number(45, 2) + number(0, 8) + number(1, 8) + number(1, 8) +
                           number(central.size(), 8) + number(directory, 8) +
                           number(0x07064b50, 4) + number(0, 4) + number(end, 8) + number(1, 4) +
                           number(0x06054b50, 4) + number(0, 4) + number(1, 2) + number(1, 2) +
                           number(central.size(), 4) + number(0xFFFFFFFF, 4) + number(0, 2);
  {
    std::ofstream file(path, std::ios::binary);
    file << local << npy;
    file.seekp(static_cast<std::streamoff>(directory));
    file << tail;
  }
  const NpzReader npz = NpzReader::open(path);
  EXPECT_EQ(npz.info("arr_0").bytes, static_cast<std::uint64_t>(rows * row));
  // One block is enough to show that streaming holds no more than that.
  struct Enough {};
  EXPECT_THROW(npz.stream("arr_0", 1,
                          [&](std::int64_t first, const Tensor& block) {
                            EXPECT_EQ(first, 0);
                            EXPECT_EQ(block.dim(1), row);
                            throw Enough{};
                          }),
               Enough);
}

TEST(Npz, TruncatedAndFlippedFilesAreRefusedInWords) {
  const Bytes file = read_bytes(data_file("files/stored.npz"));
  const auto mapped = MappedFile::copy(ByteSpan(file).first(file.size() / 2), "half.npz");
  ErrorKind kind{};
  EXPECT_THAT(error_of([&] { NpzReader::parse(mapped); }, &kind), HasSubstr("truncated download"));
  EXPECT_EQ(kind, ErrorKind::checkpoint);
  Bytes flipped = file;
  const std::string needle = "i8.npy";
  const auto at =
      std::search(file.begin(), file.end(), needle.begin(), needle.end()) - file.begin();
  flipped[static_cast<std::size_t>(at) + 200] ^= 1;
  const NpzReader npz = NpzReader::parse(MappedFile::copy(flipped, "flipped.npz"));
  EXPECT_THAT(error_of([&] { npz.read("i8"); }), HasSubstr("damaged"));
}

}  // namespace
}  // namespace tiller
