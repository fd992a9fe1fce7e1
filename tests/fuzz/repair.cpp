#include "tests/fuzz/repair.h"

#include <zlib.h>

#include <cstring>
#include <map>
#include <string>

#include "runtime/files/zip_directory.h"

namespace tiller::fuzz {

namespace {

constexpr std::uint64_t kInflateLimit = std::uint64_t{8} << 20;

std::uint32_t crc_of(const std::uint8_t* data, std::size_t size) {
  return static_cast<std::uint32_t>(crc32_z(0, data, size));
}

std::uint32_t crc_of(const ZipMember& member) {
  if (!member.deflated) return crc_of(member.data.data(), member.data.size());
  if (member.size > kInflateLimit) return 0;
  std::vector<std::uint8_t> bytes(member.size);
  try {
    ZipMemberReader(member, "fuzz").read(bytes.data(), bytes.size());
  } catch (const Error&) {  // the old checksum was wrong; the bytes are there all the same
  }
  return crc_of(bytes.data(), bytes.size());
}

}  // namespace

std::vector<std::uint8_t> repair_zip(ByteSpan bytes) {
  std::vector<std::uint8_t> repaired(bytes.begin(), bytes.end());
  std::map<std::string, std::uint32_t> sums;
  try {
    for (const ZipMember& member : read_zip_directory(bytes, "fuzz"))
      sums.emplace(member.name, crc_of(member));
  } catch (const Error&) {
    return repaired;
  }
  constexpr std::size_t kHeader = 46, kCrc = 16, kNameLength = 28;
  for (std::size_t at = 0; at + kHeader <= repaired.size(); ++at) {
    if (std::memcmp(&repaired[at], "PK\x01\x02", 4) != 0) continue;
    std::uint16_t length;
    std::memcpy(&length, &repaired[at + kNameLength], sizeof length);
    if (length > repaired.size() - at - kHeader) continue;
    const auto* name = reinterpret_cast<const char*>(repaired.data()) + at + kHeader;
    const auto sum = sums.find(std::string(name, length));
    if (sum != sums.end()) std::memcpy(&repaired[at + kCrc], &sum->second, sizeof sum->second);
  }
  return repaired;
}

std::vector<std::uint8_t> repair_png(ByteSpan bytes) {
  std::vector<std::uint8_t> repaired(bytes.begin(), bytes.end());
  if (bytes.size() < 8 || bytes[0] != 0x89) return repaired;
  for (std::size_t at = 8; at + 12 <= repaired.size();) {
    std::uint32_t length;
    std::memcpy(&length, &repaired[at], sizeof length);
    length = __builtin_bswap32(length);
    if (length > repaired.size() - at - 12) break;
    const std::uint32_t sum = __builtin_bswap32(crc_of(&repaired[at + 4], std::size_t{4} + length));
    std::memcpy(&repaired[at + 8 + length], &sum, sizeof sum);
    at += std::size_t{12} + length;
  }
  return repaired;
}

}  // namespace tiller::fuzz
