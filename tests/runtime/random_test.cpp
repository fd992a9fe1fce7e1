#include "runtime/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <numeric>
#include <vector>

#include "runtime/parallel.h"
#include "runtime/philox.h"

namespace tiller {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Distance in units of the last place of an f32 near `reference`.
double ulps(float value, double reference) {
  int exponent = 0;
  std::frexp(reference, &exponent);
  return std::fabs(value - reference) / std::ldexp(1.0, exponent - 24);
}

std::vector<float> draw(const RandomKey& key, std::int64_t n) {
  std::vector<float> out(static_cast<std::size_t>(n));
  philox_normal(key, n, out.data());
  return out;
}

TEST(Random, PhiloxKnownAnswers) {  // kat_vectors of Random123, philox4x32 with ten rounds
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, CounterLayout) {
  const RandomKey key{0x0123456789abcdefu, 7, 11, RandomStream::dropout};
  const Words words = philox4x32({2, 7, 11, 3}, {0x89abcdef, 0x01234567});
  std::vector<float> uniform(12);
  philox_uniform(key, 12, uniform.data());
  std::vector<std::int64_t> integers(12);
  philox_integers(key, 12, 1000, integers.data());
  for (std::size_t j = 0; j < 4; ++j) {
    EXPECT_EQ(uniform[8 + j], static_cast<float>(words[j] >> 8) / 16777216.0f);
    EXPECT_EQ(integers[8 + j], static_cast<std::int64_t>(std::uint64_t{words[j]} * 1000 >> 32));
  }
}

TEST(Random, LogarithmAgainstLibm) {
  double worst = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const PhiloxWords w = philox({{i, 0, 0, 0}}, 1, 2);
    const float spread = std::fma(static_cast<float>(w.v[0]), 0x1p-32f, 0x1p-33f);
    const float tiny = std::ldexp(spread, -static_cast<int>(w.v[1] % 33));
    const float near_one = 1.0f - static_cast<float>(1 + w.v[2] % 100000) * 0x1p-24f;
    for (const float u : {spread, tiny, near_one})
      if (u < 1.0f)
        worst = std::max(worst, ulps(philox_detail::log(u), std::log(static_cast<double>(u))));
  }
  EXPECT_LT(worst, 2.0);
  EXPECT_GT(worst, 0.4) << "an error this small means that nothing was compared";
  EXPECT_EQ(philox_detail::log(1.0f), 0.0f);
}

TEST(Random, CosineAndSineAgainstLibm) {
  double worst = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const std::uint32_t random = philox({{i, 0, 0, 0}}, 3, 4).v[0];
    const std::uint32_t near_axis = (random & 0xC0000000u) + ((random >> 4) & 0xFFFu) - 2048u;
    for (const std::uint32_t word : {random, near_axis}) {
      if (word % 0x40000000u == 0) continue;  // the axes themselves are below
      const long double angle = 2 * std::numbers::pi_v<long double> * word * 0x1p-32L;
      float cosine = 0, sine = 0;
      philox_detail::cos_sin(word, cosine, sine);
      worst = std::max(worst, ulps(cosine, static_cast<double>(std::cos(angle))));
      worst = std::max(worst, ulps(sine, static_cast<double>(std::sin(angle))));
    }
  }
  EXPECT_LT(worst, 2.0);
  EXPECT_GT(worst, 0.4);
  const float expected[4][2] = {{1, 0}, {0, 1}, {-1, 0}, {0, -1}};
  for (std::uint32_t quarter = 0; quarter < 4; ++quarter) {
    float cosine = 9, sine = 9;
    philox_detail::cos_sin(quarter << 30, cosine, sine);
    EXPECT_EQ(cosine, expected[quarter][0]) << quarter;
    EXPECT_EQ(sine, expected[quarter][1]) << quarter;
  }
}

TEST(Random, NormalsAgainstLibm) {
  double worst = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const PhiloxWords w = philox({{i, 0, 0, 0}}, 5, 6);
    const double u = std::fma(static_cast<float>(w.v[0]), 0x1p-32f, 0x1p-33f);
    if (u == 1.0) continue;
    const long double angle = 2 * std::numbers::pi_v<long double> * w.v[1] * 0x1p-32L;
    const double radius = std::sqrt(-2 * std::log(u));
    const PhiloxFloats four = normals_of(w);
    worst = std::max(worst, ulps(four.v[0], static_cast<double>(radius * std::cos(angle))));
    worst = std::max(worst, ulps(four.v[1], static_cast<double>(radius * std::sin(angle))));
  }
  EXPECT_LT(worst, 4.0);
}

TEST(Random, ExtremeWords) {
  for (const std::uint32_t a : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu})
    for (const std::uint32_t b : {0u, 1u, 0x1fffffffu, 0x20000000u, 0xe0000000u, 0xffffffffu}) {
      float x = NAN, y = NAN;
      philox_detail::box_muller(a, b, x, y);
      const double radius = std::hypot(x, y);
      EXPECT_TRUE(std::isfinite(x) && std::isfinite(y)) << a << " " << b;
      EXPECT_LE(radius, 6.8);
      if (a == 0) {
        EXPECT_NEAR(radius, std::sqrt(66 * std::numbers::ln2), 1e-5);
      }
      if (a == 0xffffffffu) {
        EXPECT_EQ(radius, 0);
      }
    }
  EXPECT_EQ(uniform_of(0xffffffffu), 1.0f - 0x1p-24f);
  EXPECT_EQ(integer_of(0xffffffffu, 1000), 999u);
  EXPECT_EQ(integer_of(0xffffffffu, 1), 0u);
}

TEST(Random, MomentsAndTails) {
  constexpr std::int64_t kCount = 1 << 20;
  std::vector<float> x = draw({.seed = 2021}, kCount);
  double sums[5] = {};
  for (const float v : x)
    for (int power = 1; power <= 4; ++power) sums[power] += std::pow(v, power) / kCount;
  const double sigma = 1 / std::sqrt(kCount);  // of the mean; five of them bound each moment
  EXPECT_NEAR(sums[1], 0, 5 * sigma);
  EXPECT_NEAR(sums[2], 1, 5 * std::sqrt(2.0) * sigma);
  EXPECT_NEAR(sums[3], 0, 5 * std::sqrt(15.0) * sigma);
  EXPECT_NEAR(sums[4], 3, 5 * std::sqrt(96.0) * sigma);
  std::sort(x.begin(), x.end());
  for (const double z : {-4.0, -3.0, -2.0, -1.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0}) {
    const double p = 0.5 * std::erfc(-z / std::numbers::sqrt2);
    const auto below = std::lower_bound(x.begin(), x.end(), static_cast<float>(z)) - x.begin();
    EXPECT_NEAR(static_cast<double>(below), p * kCount, 5 * std::sqrt(p * (1 - p) * kCount) + 1)
        << z;
  }
}

TEST(Random, NeighboursAreUncorrelated) {
  constexpr std::int64_t kCount = 1 << 18;
  const std::vector<float> base = draw({.seed = 5}, kCount);
  const auto correlation = [&](const std::vector<float>& other, std::size_t lag) {
    double sum = 0;
    for (std::size_t i = lag; i < base.size(); ++i) sum += double{base[i]} * other[i - lag];
    return sum / kCount;
  };
  const double bound = 5 / std::sqrt(kCount);
  for (const std::size_t lag : {1u, 2u, 3u, 4u, 16u}) EXPECT_NEAR(correlation(base, lag), 0, bound);
  EXPECT_NEAR(correlation(draw({.seed = 6}, kCount), 0), 0, bound);
  EXPECT_NEAR(correlation(draw({.seed = 5, .sample = 1}, kCount), 0), 0, bound);
  EXPECT_NEAR(correlation(draw({.seed = 5, .step = 1}, kCount), 0), 0, bound);
  EXPECT_NEAR(correlation(draw({5, 0, 0, RandomStream::step_noise}, kCount), 0), 0, bound);
  EXPECT_NEAR(correlation(draw({.seed = 5ull << 32}, kCount), 0), 0, bound);
}

TEST(Random, IndependentOfBatchSizeThreadsAndLength) {
  const RandomKey key{99, 40, 3, RandomStream::step_noise};
  const Tensor x =
      Tensor::empty({8, 65, 67, 5});  // a sample is neither a multiple of 4 nor one chunk
  const std::uint64_t version = x.storage()->version();
  fill_normal(x, key);
  EXPECT_GT(x.storage()->version(), version);
  const std::vector<float> batch = x.to_vector<float>();
  const std::size_t size = 65 * 67 * 5;
  for (std::uint32_t i = 0; i < 8; ++i) {
    RandomKey own = key;
    own.sample = 40 + i;
    const std::vector<float> alone = draw(own, static_cast<std::int64_t>(size));
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), batch.begin() + i * size)) << i;
    const std::vector<float> shorter = draw(own, 1001);
    EXPECT_TRUE(std::equal(shorter.begin(), shorter.end(), batch.begin() + i * size)) << i;
  }
  const int before = threads();
  set_threads(1);
  fill_normal(x, key);
  EXPECT_EQ(x.to_vector<float>(), batch);
  set_threads(3);
  fill_normal(x, key);
  EXPECT_EQ(x.to_vector<float>(), batch);
  set_threads(before);
}

TEST(Random, UniformsAndIntegersCoverTheirRange) {
  constexpr std::int64_t kCount = 1 << 18;
  std::vector<float> u(kCount);
  philox_uniform({.seed = 8}, kCount, u.data());
  EXPECT_GE(*std::min_element(u.begin(), u.end()), 0.0f);
  EXPECT_LT(*std::max_element(u.begin(), u.end()), 1.0f);
  EXPECT_NEAR(std::accumulate(u.begin(), u.end(), 0.0) / kCount, 0.5, 5 / std::sqrt(12.0 * kCount));
  std::vector<std::int64_t> k(kCount);
  philox_integers({.seed = 8}, kCount, 10, k.data());
  std::array<int, 10> counts{};
  for (const std::int64_t v : k) ++counts.at(static_cast<std::size_t>(v));
  for (const int count : counts)
    EXPECT_NEAR(count, kCount / 10.0, 5 * std::sqrt(0.1 * 0.9 * kCount));
}

TEST(Random, PinnedBits) {  // any change here changes every picture drawn from a seed
  const std::vector<float> x = draw({42, 1, 2, RandomStream::x_start}, 8);
  const std::array<std::uint32_t, 8> expected = {0x3f6ded04, 0x3fbcffaa, 0xbecd7dea, 0xbfd29fce,
                                                 0xbfc72bf7, 0x3f68511b, 0x3f2b24df, 0x3e527746};
  for (std::size_t i = 0; i < 8; ++i)
    EXPECT_EQ(std::bit_cast<std::uint32_t>(x[i]), expected[i]) << i << ": " << x[i];
  // Many values at once: a sum of bits that a single changed rounding moves.
  std::uint64_t sum = 0;
  for (const float v : draw({43, 0, 0, RandomStream::step_noise}, 100000))
    sum = sum * 31 + std::bit_cast<std::uint32_t>(v);
  EXPECT_EQ(sum, 0x6b6d7cc0f8096377u);
}

TEST(Random, Errors) {
  EXPECT_THROW(fill_normal(Tensor::empty({2, 3}, DType::f16), {}), Error);
  EXPECT_THROW(fill_normal(Tensor::empty({2, 8}).channels(0, 4), {}), Error);
  EXPECT_THROW(fill_normal(Tensor::empty({}), {}), Error);
  std::int64_t k = 0;
  EXPECT_THROW(philox_integers({}, 1, 0, &k), Error);
  EXPECT_THROW(philox_normal({}, -1, nullptr), Error);
  fill_normal(Tensor::empty({2, 3}, DType::f32, kMeta), {});  // no bytes, nothing to do
  fill_normal(Tensor::empty({0, 3}), {});
}

}  // namespace
}  // namespace tiller
