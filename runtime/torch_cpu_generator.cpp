// PyTorch's CPU generator, draw for draw. Where PyTorch computes with approximations of its own
// (its vectorised logarithm, sine and cosine), we round the exact function once, a few ulp away.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/random.h"

namespace tiller {

namespace {

// torch.rand's f32 uniform: the low 24 bits of a draw.
float uniform24(std::uint32_t draw) { return static_cast<float>(draw & 0xFFFFFFu) * 0x1p-24f; }

// Box-Muller within a block of sixteen uniforms: the first eight become the cosine halves.
void transform_block(float* a) {
  constexpr auto kTwoPi = static_cast<float>(2 * std::numbers::pi);
  for (int j = 0; j < 8; ++j) {
    const float u1 = 1.0f - a[j];
    const float theta = kTwoPi * a[j + 8];  // rounded to f32, as PyTorch does
    const auto log_u1 = static_cast<float>(std::log(static_cast<double>(u1)));
    const float radius = std::sqrt(-2.0f * log_u1);
    a[j] = radius * static_cast<float>(std::cos(static_cast<double>(theta)));
    a[j + 8] = radius * static_cast<float>(std::sin(static_cast<double>(theta)));
  }
}

std::size_t checked_count(std::int64_t n) {
  TILLER_CHECK(n >= 0, "random: {} numbers asked for", n);
  return static_cast<std::size_t>(n);
}

}  // namespace

TorchCpuGenerator::TorchCpuGenerator(std::uint64_t seed) {
  // Knuth's initialisation of mt19937 (Matsumoto & Nishimura 2002).
  state_[0] = static_cast<std::uint32_t>(seed);
  for (std::size_t i = 1; i < state_.size(); ++i)
    state_[i] =
        1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<std::uint32_t>(i);
}

std::uint32_t TorchCpuGenerator::next_u32() {
  constexpr std::size_t kSize = 624, kMiddle = 397;
  if (next_ == kSize) {
    for (std::size_t i = 0; i < kSize; ++i) {
      const std::uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % kSize] & 0x7FFFFFFFu);
      state_[i] = state_[(i + kMiddle) % kSize] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908B0DFu : 0u);
    }
    next_ = 0;
  }
  std::uint32_t y = state_[next_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9D2C5680u;
  y ^= (y << 15) & 0xEFC60000u;
  return y ^ (y >> 18);
}

double TorchCpuGenerator::next_normal_double() {
  if (has_cached_normal_) {
    has_cached_normal_ = false;
    return cached_normal_;
  }
  const auto uniform = [this] {
    const std::uint64_t high = next_u32();
    const std::uint64_t draw = (high << 32) | next_u32();
    return static_cast<double>(draw & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
  };
  const double theta = 2 * std::numbers::pi * uniform();
  const double radius = std::sqrt(-2 * std::log1p(-uniform()));
  cached_normal_ = radius * std::sin(theta);
  has_cached_normal_ = true;
  return radius * std::cos(theta);
}

std::vector<float> TorchCpuGenerator::randn(std::int64_t n) {
  if (n < 16) {
    std::vector<float> out(checked_count(n));
    for (float& x : out) x = static_cast<float>(next_normal_double());
    return out;
  }
  std::vector<float> out = rand(n);  // the cached normal is neither used nor dropped
  const auto size = static_cast<std::size_t>(n);
  for (std::size_t i = 0; i + 16 <= size; i += 16) transform_block(&out[i]);
  if (size % 16 != 0) {
    float* tail = out.data() + size - 16;
    std::generate_n(tail, 16, [this] { return uniform24(next_u32()); });
    transform_block(tail);
  }
  return out;
}

std::vector<float> TorchCpuGenerator::rand(std::int64_t n) {
  std::vector<float> out(checked_count(n));
  for (float& x : out) x = uniform24(next_u32());
  return out;
}

std::vector<std::int64_t> TorchCpuGenerator::randint(std::int64_t bound, std::int64_t n) {
  TILLER_CHECK(bound > 0 && bound < (std::int64_t{1} << 32),
               "randint: the bound {} is not in [1, 2^32)", bound);
  std::vector<std::int64_t> out(checked_count(n));
  for (std::int64_t& x : out) x = next_u32() % static_cast<std::uint32_t>(bound);
  return out;
}

}  // namespace tiller
