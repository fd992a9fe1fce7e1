#include "kernels/simd.h"

#include "tests/kernels/helpers.h"

namespace tiller {
namespace {

float lane0(f32x8 v) {
  float out[8];
  v.store(out);
  return out[0];
}

TEST(SimdTest, ExpIsWithinTwoUlpFromEndToEnd) {
  for (double x = -87; x < 88.7; x += 0.00731) {
    const auto rounded = static_cast<float>(x);
    EXPECT_NEAR(lane0(exp(f32x8(rounded))) / std::exp(static_cast<double>(rounded)), 1, 1.3e-7)
        << x;
  }
  EXPECT_EQ(lane0(exp(f32x8(0.0f))), 1.0f);
  EXPECT_EQ(lane0(exp(f32x8(90.0f))), INFINITY);
  EXPECT_EQ(lane0(exp(f32x8(INFINITY))), INFINITY);
  EXPECT_EQ(lane0(exp(f32x8(-INFINITY))), 0.0f);
  EXPECT_EQ(lane0(exp(f32x8(-105.0f))), 0.0f);
  EXPECT_NEAR(lane0(exp(f32x8(-100.0f))), std::exp(-100.0), 1.5e-45);  // a subnormal
  EXPECT_TRUE(std::isnan(lane0(exp(f32x8(NAN)))));
}

TEST(SimdTest, SiluAndItsSlopeAtTheEnds) {
  for (const float x : {-200.0f, -30.0f, -1.0f, -1e-3f, 0.0f, 0.5f, 12.0f, 200.0f}) {
    const double s = 1 / (1 + std::exp(-static_cast<double>(x)));
    EXPECT_NEAR(lane0(silu(f32x8(x))), x * s, 3e-7 * std::abs(x * s) + 1e-44) << x;
    EXPECT_NEAR(lane0(silu_slope(f32x8(x))), s * (1 + x * (1 - s)), 1e-6) << x;
  }
}

// Every length of a partial vector, between guards that must survive; rounding as the scalar types
// do.
template <class T>
void round_trip() {
  const std::vector<float> values = {1.0f, -2.5f, 3.14159f, 65519.9f, 1e-7f, -INFINITY, NAN, 0.1f};
  for (std::int64_t n = 0; n <= 8; ++n) {
    std::vector<T> in, out(10, T(7.0f));
    for (const float v : values) in.push_back(T(v));
    for_each_vector<f32x8>(n, [&](auto step) { step.store(step.load(in.data()), out.data() + 1); });
    EXPECT_EQ(static_cast<float>(out[0]), 7.0f);
    for (std::int64_t i = 0; i < 9; ++i) {
      const float got = static_cast<float>(out[static_cast<std::size_t>(1 + i)]);
      const float want = i < n ? static_cast<float>(in[static_cast<std::size_t>(i)]) : 7.0f;
      EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want))) << n << " " << i;
    }
  }
  std::vector<T> narrow(8);
  f32x8::load(values.data()).store(narrow.data());
  for (std::size_t i = 0; i < 8; ++i) {
    const float got = static_cast<float>(narrow[i]), want = static_cast<float>(T(values[i]));
    EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want))) << i;
  }
}
TEST(SimdTest, LoadsAndStoresF32) { round_trip<float>(); }
TEST(SimdTest, LoadsAndStoresF16) { round_trip<f16>(); }
TEST(SimdTest, LoadsAndStoresBf16) { round_trip<bf16>(); }

TEST(SimdTest, SumAndLargestOfAllLanes) {
  const float x[8] = {1, 2, 3, 4, 5, 60, 7, 8};
  EXPECT_EQ(sum(f32x8::load(x)), 90.0f);
  EXPECT_EQ(largest(f32x8::load(x)), 60.0f);
  EXPECT_EQ(largest(-f32x8::load(x)), -1.0f);
}

}  // namespace
}  // namespace tiller
