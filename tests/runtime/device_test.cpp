#include "runtime/device.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "runtime/dtype.h"
#include "runtime/env.h"
#include "runtime/error.h"

namespace tiller {
namespace {

TEST(Device, ParsesWhatItPrints) {
  for (const char* text : {"cpu", "cuda:0", "cuda:3", "simt", "meta"})
    EXPECT_EQ(to_string(parse_device(text)), text);
  EXPECT_EQ(to_string(parse_device("cuda")), "cuda:0");
  for (const char* text : {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cpu:0"})
    EXPECT_THROW(parse_device(text), Error) << text;
}

TEST(Device, StreamGuardsNest) {
  int a = 0, b = 0;
  const Device gpu{DeviceType::cuda, 1};
  EXPECT_EQ(current_stream(gpu).handle, nullptr);
  {
    const StreamGuard outer({gpu, &a});
    EXPECT_EQ(current_stream(gpu).handle, &a);
    {
      const StreamGuard inner({gpu, &b});
      EXPECT_EQ(current_stream(gpu).handle, &b);
    }
    EXPECT_EQ(current_stream(gpu).handle, &a);
    EXPECT_EQ(current_stream({DeviceType::cuda, 0}).handle, nullptr);
  }
  EXPECT_EQ(current_stream(gpu).handle, nullptr);
}

TEST(DType, NamesRoundTrip) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::f64, DType::i64, DType::i32,
                            DType::u8, DType::i16, DType::i8, DType::boolean})
    EXPECT_EQ(parse_dtype(name(dtype)), dtype);
  EXPECT_THROW(parse_dtype("float"), Error);
  EXPECT_EQ(size_of(DType::bf16), 2u);
}

// Round to nearest even by exact arithmetic in double, independent of the bit tricks.
double round_to_half(double x, int mantissa_bits, int min_exponent, double largest) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), min_exponent);
  const double unit = std::ldexp(1.0, exponent - mantissa_bits);
  const double rounded = std::nearbyint(x / unit) * unit;
  return std::abs(rounded) > largest ? std::copysign(INFINITY, x) : rounded;
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const f16 h = std::bit_cast<f16>(static_cast<std::uint16_t>(bits));
    const float x = h;
    if (std::isnan(x)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(f16(x))));
    } else {
      EXPECT_EQ(f16(x).bits, bits);
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  std::uint32_t state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 1664525u + 1013904223u;
    const float x = std::bit_cast<float>(state);
    if (!std::isfinite(x)) continue;
    EXPECT_EQ(static_cast<float>(f16(x)), round_to_half(x, 10, -14, 65504.0)) << x;
    if (std::abs(x) <= std::numeric_limits<float>::min()) continue;
    EXPECT_EQ(static_cast<float>(bf16(x)), static_cast<float>(round_to_half(x, 7, -126, 3.3896e38)))
        << x;
  }
  EXPECT_EQ(bf16(std::bit_cast<float>(0x00008000u)).bits, 0u);  // half way: to even
  EXPECT_EQ(bf16(std::bit_cast<float>(0x00018000u)).bits, 2u);  // half way: to even
  EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(0x7F800001u)))));
  EXPECT_TRUE(std::isinf(static_cast<float>(f16(65520.0f))));
  EXPECT_EQ(static_cast<float>(f16(65519.0f)), 65504.0f);
}

TEST(Environment, OnlyDeclaredNamesAreRead) {
  EXPECT_NO_THROW(environment("TILLER_KERNEL"));
  EXPECT_THROW(environment("TILLER_NOT_DECLARED"), Error);
  for (const EnvVariable& variable : environment_variables())
    EXPECT_TRUE(std::string_view(variable.name).starts_with("TILLER_") ||
                std::string_view(variable.name).starts_with("OPENAI_"))
        << variable.name;  // guided-diffusion's own
}

}  // namespace
}  // namespace tiller
