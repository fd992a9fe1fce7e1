#include "runtime/files/npz.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include "runtime/backend.h"
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

std::string little_endian(std::uint64_t value, int bytes) {
  std::string result;
  for (int i = 0; i < bytes; ++i) result += static_cast<char>(value >> (8 * i));
  return result;
}

std::string npy(const std::string& descr, const std::string& shape) {
  const std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({},), }}\n", descr, shape);
  return std::string("\x93NUMPY\x01") + '\0' + little_endian(text.size(), 2) + text;
}

// A zip archive written by hand, with every size and offset in ZIP64 records. Members whose content is
// shorter than their size end in a hole, which reads as zeros and takes no room on the disk.
class SparseZip {
 public:
  explicit SparseZip(const std::string& path) : file_(path, std::ios::binary) {}
  void add(const std::string& name, const std::string& content, std::uint64_t size,
           std::uint32_t crc) {
    const auto start = static_cast<std::uint64_t>(file_.tellp());
    const std::string sizes = little_endian(size, 8) + little_endian(size, 8);
    const std::string local = little_endian(1, 2) + little_endian(16, 2) + sizes;
    const std::string central =
        little_endian(1, 2) + little_endian(24, 2) + sizes + little_endian(start, 8);
    const std::string full = little_endian(0xFFFFFFFF, 4),
                      common = little_endian(45, 2) + little_endian(0, 8) + little_endian(crc, 4) +
                               full + full + little_endian(name.size(), 2);
    file_ << little_endian(0x04034b50, 4) << common << little_endian(local.size(), 2) << name
          << local << content;
    file_.seekp(static_cast<std::streamoff>(size - content.size()), std::ios::cur);
    directory_ += little_endian(0x02014b50, 4) + little_endian(45, 2) + common +
                  little_endian(central.size(), 2) + little_endian(0, 2) + little_endian(0, 8) +
                  full + name + central;
    ++members_;
  }
  void finish() {
    const auto start = static_cast<std::uint64_t>(file_.tellp()), end = start + directory_.size();
    file_ << directory_ << little_endian(0x06064b50, 4) << little_endian(44, 8)
          << little_endian(45, 2) << little_endian(45, 2) << little_endian(0, 8)
          << little_endian(members_, 8) << little_endian(members_, 8)
          << little_endian(directory_.size(), 8) << little_endian(start, 8)
          << little_endian(0x07064b50, 4) << little_endian(0, 4) << little_endian(end, 8)
          << little_endian(1, 4) << little_endian(0x06054b50, 4) << little_endian(0, 4)
          << little_endian(members_, 2) << little_endian(members_, 2)
          << little_endian(directory_.size(), 4) << little_endian(0xFFFFFFFF, 4)
          << little_endian(0, 2);
    file_.close();
  }

 private:
  std::ofstream file_;
  std::string directory_;
  std::uint64_t members_ = 0;
};

// An array of 5 GiB and one behind it, in a sparse file.
TEST(Npz, MembersOverFourGiB) {
  const TemporaryFolder folder;
  const std::int64_t rows = 5 << 10, row = std::int64_t{1} << 20;
  const std::string path = folder / "big.npz";
  {
    SparseZip zip(path);
    const std::string big = npy("|u1", fmt::format("{}, {}", rows, row));
    zip.add("arr_0.npy", big, big.size() + static_cast<std::uint64_t>(rows * row), 0);
    const std::string tail = npy("<i2", "3") + std::string("\1\0\2\0\3\0", 6);
    zip.add("arr_1.npy", tail, tail.size(),
            static_cast<std::uint32_t>(
                crc32_z(0, reinterpret_cast<const Bytef*>(tail.data()), tail.size())));
    zip.finish();
  }
  const NpzReader npz = NpzReader::open(path);
  EXPECT_EQ(npz.info("arr_0").bytes, static_cast<std::uint64_t>(rows * row));
  EXPECT_EQ(npz.read("arr_1").to_vector<std::int16_t>(), (std::vector<std::int16_t>{1, 2, 3}));
  // A few blocks are enough to show that streaming holds no more than one.
  struct Enough {};
  backend(kCpu).reset_peak();
  const std::size_t before = backend(kCpu).memory().live;
  std::int64_t seen = 0;
  EXPECT_THROW(npz.stream("arr_0", 2,
                          [&](std::int64_t first, const Tensor& block) {
                            EXPECT_EQ(first, seen);
                            EXPECT_EQ(block.shape(), Shape({2, row}));
                            seen += 2;
                            if (seen == 10) throw Enough{};
                          }),
               Enough);
  EXPECT_LE(backend(kCpu).memory().peak - before, static_cast<std::size_t>(4 * row));
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
