// Damaged files of every format: cut short at many offsets, and with bits flipped at many. The answer is
// either a tiller::Error or, where the damage does not matter, the file's content; never a crash, another
// exception, a hang or a large allocation. A finding of the fuzzers is replayed here for ever.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>

#include "runtime/backend.h"
#include "runtime/files/checkpoint.h"
#include "runtime/files/image.h"
#include "runtime/files/mapped_file.h"
#include "runtime/files/npz.h"
#include "runtime/files/zip_directory.h"
#include "tests/fuzz/targets.h"
#include "tests/runtime/files_util.h"

namespace tiller {
namespace {

using testing::Bytes;
using testing::data_file;
using testing::read_bytes;

constexpr std::size_t kMemoryLimit = std::size_t{64} << 20;
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepsFreedMemory =
    true;  // the sanitizer's quarantine, so that resident memory grows
#else
constexpr bool kKeepsFreedMemory = false;
#endif

struct Case {
  const char* file;  // in tests/data
  fuzz::Target target;
};

std::size_t peak_resident() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

// Every offset of the first and last 2 KB, and a stride between.
std::vector<std::size_t> offsets(std::size_t size) {
  constexpr std::size_t kEdge = 2048, kStride = 61;
  std::vector<std::size_t> result;
  for (std::size_t at = 0; at < size; at += at < kEdge || at + kEdge >= size ? 1 : kStride)
    result.push_back(at);
  return result;
}

class BadInput : public ::testing::TestWithParam<Case> {};

TEST_P(BadInput, CutAndFlipped) {
  const Bytes file = read_bytes(data_file(GetParam().file));
  ASSERT_FALSE(file.empty());
  GetParam().target(file.data(), file.size());  // what is held from now on is not this file's
  backend(kCpu).reset_peak();
  const std::size_t before = peak_resident();
  const std::size_t live = backend(kCpu).memory().live;
  for (const std::size_t at : offsets(file.size())) {
    const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(at));
    GetParam().target(cut.data(), cut.size());
    for (const std::uint8_t flip : {std::uint8_t(1u << (at % 8)), std::uint8_t{0xFF}}) {
      Bytes flipped = file;
      flipped[at] = static_cast<std::uint8_t>(flipped[at] ^ flip);
      GetParam().target(flipped.data(), flipped.size());
    }
  }
  EXPECT_LE(backend(kCpu).memory().peak - live, file.size() + kMemoryLimit);
  if (!kKeepsFreedMemory) {
    EXPECT_LE(peak_resident() - before, file.size() + kMemoryLimit);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadInput,
    ::testing::Values(
        Case{"files/little.pt", fuzz::pt_zip}, Case{"files/big_endian.pt", fuzz::pt_zip},
        Case{"files/legacy.pt", fuzz::pt_legacy}, Case{"files/evil.pt", fuzz::pt_zip},
        Case{"files/stored.npz", fuzz::npz}, Case{"files/deflated.npz", fuzz::npz},
        Case{"files/plain.npy", fuzz::npz}, Case{"files/version2.npy", fuzz::npz},
        Case{"loss_scale_opt.fp16.pt", fuzz::optimizer}, Case{"images/rgba.png", fuzz::image},
        Case{"images/palette.png", fuzz::image}, Case{"images/gif.gif", fuzz::image},
        Case{"images/gray16.png", fuzz::image}, Case{"images/one_bit.png", fuzz::image},
        Case{"images/base.jpg", fuzz::image}, Case{"images/progressive.jpg", fuzz::image},
        Case{"images/cmyk.jpg", fuzz::image}, Case{"files/odd.npz", fuzz::npz},
        Case{"files/legacy_view.pt", fuzz::pt_legacy}, Case{"files/whole.pt", fuzz::pt_zip},
        Case{"files/script.pt", fuzz::pt_zip}, Case{"files/edm.pkl", fuzz::pt_legacy},
        Case{"files/optimizer_int_step.pt", fuzz::optimizer}),
    [](const auto& info) {
      std::string name = info.param.file;
      for (char& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      return name;
    });

// Every bit of a small file.
void cut_and_flip(const Bytes& file, fuzz::Target target) {
  ASSERT_FALSE(file.empty());
  for (std::size_t at = 0; at < file.size(); ++at) {
    target(file.data(), at);
    for (int bit = 0; bit < 8; ++bit) {
      Bytes flipped = file;
      flipped[at] = static_cast<std::uint8_t>(flipped[at] ^ (1 << bit));
      target(flipped.data(), flipped.size());
    }
  }
}

TEST(BadInput, SafetensorsCutAndFlipped) {
  const testing::TemporaryFolder folder;
  write_safetensors(folder / "a",
                    {{"w", Tensor::zeros({2, 3})}, {"b", Tensor::zeros({4}, DType::bf16)}},
                    {{"note", "x"}});
  cut_and_flip(read_bytes(folder / "a"), fuzz::safetensors);
}

TEST(BadInput, OurOwnFilesCutAndFlipped) {
  const testing::TemporaryFolder folder;
  write_pt(folder / "a.pt", {{"w", Tensor::zeros({2, 3})}});
  cut_and_flip(read_bytes(folder / "a.pt"), fuzz::pt_zip);
  write_png(folder / "a.png", Tensor::zeros({3, 2, 3}, DType::u8),
            {{"tiller", "{}"}, {"title", "\u00e4"}});
  cut_and_flip(read_bytes(folder / "a.png"), fuzz::image);
  NpzWriter writer(folder / "a.npz", true);
  writer.write("arr_0", Tensor::zeros({2, 4, 4, 3}, DType::u8));
  writer.finish();
  cut_and_flip(read_bytes(folder / "a.npz"), fuzz::npz);
}

// The pickle alone, past the checksum of the archive around it.
TEST(BadInput, PicklesCutAndFlipped) {
  for (const char* name : {"files/little.pt", "files/evil.pt", "loss_scale_opt.fp16.pt"}) {
    const auto file = MappedFile::open(data_file(name));
    for (const ZipMember& member : read_zip_directory(file->bytes(), name))
      if (member.name.ends_with("data.pkl"))
        cut_and_flip(Bytes(member.data.begin(), member.data.end()), fuzz::pickle);
  }
}

TEST(BadInput, OldFindings) {
  for (const fuzz::Named& named : fuzz::kTargets) {
    const std::filesystem::path folder = data_file(std::string("fuzz/") + named.name);
    if (!std::filesystem::exists(folder)) continue;  // a reader without findings
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const Bytes file = read_bytes(entry.path().string());
      const auto start = std::chrono::steady_clock::now();
      named.target(file.data(), file.size());
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << entry.path();
    }
  }
}

}  // namespace
}  // namespace tiller
