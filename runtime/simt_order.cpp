#include "runtime/simt_order.h"

#include <charconv>

#include "runtime/env.h"
#include "runtime/error.h"

namespace tiller::executor {

namespace {
Order& order() {
  static thread_local Order current = [] {
    const std::string text = environment("TILLER_SIMT_ORDER");
    return text.empty() ? Order{} : Order::parse(text);
  }();
  return current;
}
}  // namespace

Order Order::parse(std::string_view text) {
  if (text == "ascending") return {Kind::ascending, 0};
  if (text == "descending") return {Kind::descending, 0};
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorKind::usage,
         fmt::format("TILLER_SIMT_ORDER={} is not ascending, descending or a seed", text));
  return {Kind::random, seed};
}

std::string to_string(const Order& order) {
  switch (order.kind) {
    case Order::Kind::ascending:
      return "ascending";
    case Order::Kind::descending:
      return "descending";
    case Order::Kind::random:
      break;
  }
  return fmt::format("seed {}", order.seed);
}

Order current_order() { return order(); }
OrderGuard::OrderGuard(const Order& wanted) : previous_(order()) { order() = wanted; }
OrderGuard::~OrderGuard() { order() = previous_; }

}  // namespace tiller::executor
