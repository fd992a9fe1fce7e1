#pragma once
// The order in which the executor runs threads and blocks. A GPU promises none, so a kernel that is
// right must give the same bits under every one of these.
#include <cstdint>
#include <string>
#include <string_view>

namespace tiller::executor {

struct Order {
  enum class Kind : std::uint8_t { ascending, descending, random };
  Kind kind = Kind::random;
  std::uint64_t seed = 1;  ///< of Kind::random

  /// "ascending", "descending" or a seed, as TILLER_SIMT_ORDER has it. Throws Error(usage).
  static Order parse(std::string_view text);
};

/// "ascending", "descending" or "seed 7": printed with every error.
std::string to_string(const Order& order);

/// The order of launches on this thread: TILLER_SIMT_ORDER, or seed 1.
Order current_order();

/// Runs the launches of this thread in another order until the guard dies.
class OrderGuard {
 public:
  explicit OrderGuard(const Order& order);
  ~OrderGuard();
  OrderGuard(const OrderGuard&) = delete;
  OrderGuard& operator=(const OrderGuard&) = delete;

 private:
  Order previous_;
};

/// xorshift64*: a few instructions a number, since one is drawn at every switch.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0xD1B54A32D192ED03u) {}
  /// Uniform in [0, bound).
  std::uint32_t below(std::uint32_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    const std::uint64_t word = (state_ * 0x2545F4914F6CDD1Du) >> 32;
    return static_cast<std::uint32_t>((word * bound) >> 32);
  }

 private:
  std::uint64_t state_;
};

}  // namespace tiller::executor
