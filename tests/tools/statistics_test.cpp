#include "tools/report/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/files/checkpoint.h"
#include "runtime/parallel.h"

namespace tiller {
namespace {

TEST(Statistics, FiniteValuesOnly) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Statistics s =
      statistics(Tensor::from(std::vector<float>{nan, 1, -INFINITY, 2, 6, INFINITY}, {6}));
  EXPECT_EQ(s.count, 6);
  EXPECT_EQ(s.nan, 1);
  EXPECT_EQ(s.infinite, 2);
  EXPECT_EQ(s.finite(), 3);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 6);
  EXPECT_EQ(s.mean, 3);
  EXPECT_NEAR(s.deviation, std::sqrt(14.0 / 3), 1e-12);
}

TEST(Statistics, OfNothingAndOfNoFiniteValue) {
  const Statistics none = statistics(Tensor::zeros({0, 3}));
  EXPECT_EQ(none.count, 0);
  EXPECT_EQ(none.min, 0);
  EXPECT_EQ(none.deviation, 0);
  Statistics s = statistics(Tensor::from(std::vector<double>{INFINITY}, {1}));
  EXPECT_EQ(s.max, 0);
  s += statistics(Tensor::from(std::vector<double>{-3}, {1}));
  EXPECT_EQ(s.min, -3);
  EXPECT_EQ(s.max, -3);  // not the 0 of nothing
}

TEST(Statistics, EveryType) {
  const std::vector<double> values = {-2, 0, 1, 5};
  const Tensor wide = Tensor::from(values, {2, 2});
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    const Statistics s = statistics(cast_on_host(wide, dtype));
    EXPECT_EQ(s.min, -2) << name(dtype);
    EXPECT_EQ(s.mean, 1) << name(dtype);
  }
  const auto mean = [](const Tensor& t) { return statistics(t).mean; };
  EXPECT_EQ(mean(Tensor::from(std::vector<std::int64_t>{-2, 4}, {2})), 1);
  EXPECT_EQ(mean(Tensor::from(std::vector<std::int32_t>{-2, 4}, {2})), 1);
  EXPECT_EQ(mean(Tensor::from(std::vector<std::int16_t>{-2, 4}, {2})), 1);
  EXPECT_EQ(mean(Tensor::from(std::vector<std::int8_t>{-2, 4}, {2})), 1);
  EXPECT_EQ(mean(Tensor::from(std::vector<std::uint8_t>{200, 100}, {2})), 150);
}

// Values far from zero, longer than a block and no multiple of it: sums of squares would cancel.
TEST(Statistics, BlocksJoinExactlyWhateverTheThreads) {
  const std::int64_t count = 200001;
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(1e9 + static_cast<double>(i % 3));
  const Tensor t = Tensor::from(values, {count});
  const int before = threads();
  set_threads(1);
  const Statistics one = statistics(t);
  set_threads(3);
  const Statistics three = statistics(t);
  set_threads(before);
  EXPECT_EQ(one.count, count);
  EXPECT_NEAR(one.mean, 1e9 + 1, 1e-6);
  EXPECT_NEAR(one.deviation, std::sqrt(2.0 / 3), 1e-6);
  EXPECT_EQ(one.mean, three.mean);
  EXPECT_EQ(one.deviation, three.deviation);
}

}  // namespace
}  // namespace tiller
