#include "runtime/files/crc32.h"

#include <immintrin.h>
#include <zlib.h>

#include <algorithm>
#include <vector>

#include "runtime/parallel.h"

namespace tiller {

namespace {

std::uint32_t plain(std::uint32_t crc, ByteSpan bytes) {
  return static_cast<std::uint32_t>(crc32_z(crc, bytes.data(), bytes.size()));
}

// a * x^n mod P of both halves, added to the 16 bytes that lie n bits further on.
__attribute__((target("pclmul"))) __m128i fold(__m128i a, __m128i power, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(a, power, 0x00);
  const __m128i high = _mm_clmulepi64_si128(a, power, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

// Folds four lanes of 16 bytes into as many until one is left, which has the remainder of all that
// it stands for (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
// Instruction", 2009; the constants are theirs, bit-reflected). Its own CRC finishes the work.
__attribute__((target("pclmul"))) std::uint32_t folded(ByteSpan bytes) {
  constexpr std::size_t kLane = 16, kBlock = 4 * kLane;
  if (bytes.size() < 2 * kBlock) return plain(0, bytes);
  const __m128i by_block = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by_lane = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  const auto load = [&](std::size_t at) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at));
  };
  __m128i lane[4];
  for (std::size_t i = 0; i < 4; ++i) lane[i] = load(i * kLane);
  // A CRC starts with ones.
  lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128(-1));
  std::size_t at = kBlock;
  for (; at + kBlock <= bytes.size(); at += kBlock)
    for (std::size_t i = 0; i < 4; ++i) lane[i] = fold(lane[i], by_block, load(at + i * kLane));
  for (std::size_t i = 1; i < 4; ++i) lane[i] = fold(lane[i - 1], by_lane, lane[i]);
  alignas(16) std::uint8_t rest[kLane];
  _mm_store_si128(reinterpret_cast<__m128i*>(rest), lane[3]);
  // zlib inverts the state on entering and on leaving: all ones stand for a state of zero.
  return plain(plain(0xFFFFFFFFu, rest), bytes.subspan(at));
}

std::uint32_t crc_of_part(ByteSpan bytes) {
  static const bool multiplies = __builtin_cpu_supports("pclmul") != 0;
  return multiplies ? folded(bytes) : plain(0, bytes);
}

}  // namespace

std::uint32_t crc32_of(ByteSpan bytes) {
  constexpr std::size_t kPart = std::size_t{1} << 20;
  const std::size_t parts = (bytes.size() + kPart - 1) / kPart;
  if (parts <= 1) return crc_of_part(bytes);
  std::vector<std::uint32_t> crcs(parts);
  const auto part = [&](std::size_t i) {
    return bytes.subspan(i * kPart, std::min(kPart, bytes.size() - i * kPart));
  };
  launch("crc32", static_cast<std::int64_t>(parts), [&](std::int64_t i) {
    crcs[static_cast<std::size_t>(i)] = crc_of_part(part(static_cast<std::size_t>(i)));
  });
  uLong all = crcs[0];
  for (std::size_t i = 1; i < parts; ++i)
    all = crc32_combine(all, crcs[i], static_cast<z_off_t>(part(i).size()));
  return static_cast<std::uint32_t>(all);
}

}  // namespace tiller
