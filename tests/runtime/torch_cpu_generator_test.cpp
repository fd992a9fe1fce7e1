#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "runtime/files/npz.h"
#include "runtime/random.h"

namespace tiller {
namespace {

TEST(TorchCpuGenerator, DrawsAreMt19937) {
  for (const std::uint64_t seed : {0ull, 5489ull, 0xffffffffull, 0x1234567800000009ull}) {
    std::mt19937 reference(static_cast<std::uint32_t>(seed));  // the low 32 bits, as PyTorch
    TorchCpuGenerator generator(seed);
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(generator.next_u32(), reference()) << seed << " " << i;
  }
}

TEST(TorchCpuGenerator, SmallNormalsKeepTheSecondOfAPair) {
  // torch.manual_seed(0); torch.randn(5)
  const std::vector<float> expected = {1.5409961f, -0.2934289f, -2.1787894f, 0.56843126f,
                                       -1.0845224f};
  TorchCpuGenerator generator(0);
  EXPECT_EQ(generator.randn(5), expected);
  TorchCpuGenerator pieces(0);
  EXPECT_EQ(pieces.randn(1)[0], expected[0]);
  EXPECT_EQ(pieces.randn(0).size(), 0u);
  const std::uint32_t next = TorchCpuGenerator(pieces).next_u32();
  EXPECT_EQ(pieces.randn(1)[0], expected[1]);  // from the cache: no draw
  EXPECT_EQ(pieces.next_u32(), next);
}

// Our normals of 16 values and more may differ from PyTorch's by this many units of the last place,
// because PyTorch's vectorised functions are approximations; everything else is equal.
constexpr double kUlps = 4;

double worst_ulps(const std::vector<float>& ours, const std::vector<float>& theirs) {
  EXPECT_EQ(ours.size(), theirs.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    int exponent = 0;
    std::frexp(theirs[i], &exponent);
    worst = std::max(worst, std::abs(double{ours[i]} - theirs[i]) / std::ldexp(1.0, exponent - 24));
  }
  return worst;
}

TEST(TorchCpuGenerator, DrawsWhatPyTorchDraws) {
  const NpzReader file = NpzReader::open(TILLER_TEST_DATA "/torch_cpu_rng.npz");
  for (const std::uint64_t seed : {0, 1, 42, 123456789}) {
    SCOPED_TRACE(seed);
    const auto theirs = [&](const char* name) {
      return file.read(std::to_string(seed) + "." + name).to_vector<float>();
    };
    TorchCpuGenerator generator(seed);  // the calls stand in PyTorch's order
    EXPECT_EQ(generator.randn(5), theirs("randn_5"));
    EXPECT_LE(worst_ulps(generator.randn(2 * 3 * 8 * 8), theirs("randn_2x3x8x8")), kUlps);
    EXPECT_LE(worst_ulps(generator.randn(1000), theirs("randn_1000")), kUlps);
    EXPECT_EQ(generator.randint(1000, 64),
              file.read(std::to_string(seed) + ".randint_1000").to_vector<std::int64_t>());
    EXPECT_EQ(generator.rand(20), theirs("rand_20"));
    EXPECT_LE(worst_ulps(generator.randn(33), theirs("randn_after")), kUlps);
  }
}

TEST(TorchCpuGenerator, OnlySmallNormalsTouchTheCache) {
  const NpzReader file = NpzReader::open(TILLER_TEST_DATA "/torch_cpu_rng_cache.npz");
  const auto theirs = [&](const char* name) { return file.read(name).to_vector<float>(); };
  TorchCpuGenerator generator(9);
  EXPECT_EQ(generator.randn(3), theirs("a3"));
  EXPECT_EQ(generator.randn(2), theirs("a2"));
  EXPECT_LE(worst_ulps(generator.randn(20), theirs("a20")), kUlps);
  EXPECT_EQ(generator.randn(1), theirs("a1"));
  EXPECT_EQ(generator.rand(2), theirs("r2"));
  EXPECT_EQ(generator.randn(1), theirs("b1"));
}

TEST(TorchCpuGenerator, Errors) {
  TorchCpuGenerator generator(0);
  EXPECT_THROW(generator.randn(-1), Error);
  EXPECT_THROW(generator.randint(0, 1), Error);
  EXPECT_THROW(generator.randint(std::int64_t{1} << 32, 1), Error);
}

}  // namespace
}  // namespace tiller
