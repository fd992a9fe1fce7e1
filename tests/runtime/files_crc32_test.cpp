#include "runtime/files/crc32.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <vector>

namespace tiller {
namespace {

std::vector<std::uint8_t> some_bytes(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  std::uint32_t state = 1;
  for (std::uint8_t& b : bytes) {
    state = state * 1664525 + 1013904223;
    b = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

void expect_zlibs(ByteSpan bytes) {
  EXPECT_EQ(crc32_of(bytes), crc32_z(0, bytes.data(), bytes.size())) << bytes.size() << " bytes";
}

TEST(Crc32, OfAKnownText) {
  const std::string text = "123456789";  // the check value of every catalogue of CRCs
  EXPECT_EQ(crc32_of({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}),
            0xCBF43926u);
}

TEST(Crc32, OfEveryLengthAroundTheBlocks) {
  const std::vector<std::uint8_t> bytes = some_bytes(400);
  for (std::size_t n = 0; n <= 390; ++n) expect_zlibs(ByteSpan(bytes).subspan(n % 7, n));
}

TEST(Crc32, OfMoreThanOneThreadReads) {
  const std::vector<std::uint8_t> bytes = some_bytes((std::size_t{3} << 20) + 1);
  expect_zlibs(bytes);
  expect_zlibs(ByteSpan(bytes).first((std::size_t{2} << 20) - 3));
}

}  // namespace
}  // namespace tiller
