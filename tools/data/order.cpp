#include "tools/data/order.h"

#include <limits>
#include <numeric>
#include <utility>

#include "runtime/error.h"
#include "runtime/random.h"

namespace tiller {

namespace {

// Of the counter's first word, which counts blocks of four draws: a shuffle uses one for every four
// pictures, so the last one is free for what belongs to a single picture.
constexpr std::uint32_t kPictureBlock = std::numeric_limits<std::uint32_t>::max();

}  // namespace

Order::Order(std::int64_t size, std::uint64_t seed, bool shuffle)
    : size_(size), seed_(seed), shuffle_(shuffle) {
  TILLER_CHECK(size >= 1 && size < std::int64_t{1} << 32, "an order of {} pictures", size);
}

PhiloxWords Order::words(std::uint32_t block, std::uint32_t picture, std::int64_t epoch) const {
  return philox({{block, picture, static_cast<std::uint32_t>(epoch),
                  static_cast<std::uint32_t>(RandomStream::loader)}},
                static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32));
}

PhiloxWords Order::draw(std::int64_t place, std::int64_t picture) const {
  return words(kPictureBlock, static_cast<std::uint32_t>(picture), epoch(place));
}

std::int64_t Order::picture(std::int64_t place) {
  if (!shuffle_) return place % size_;
  if (epoch(place) != epoch_) make_order(epoch(place));
  return order_[static_cast<std::size_t>(place % size_)];
}

// Fisher and Yates' shuffle (Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2 P).
void Order::make_order(std::int64_t epoch) {
  order_.resize(static_cast<std::size_t>(size_));
  std::iota(order_.begin(), order_.end(), 0u);
  PhiloxWords drawn{};
  for (std::uint32_t i = 0; i + 1 < order_.size(); ++i) {
    if (i % 4 == 0) drawn = words(i / 4, 0, epoch);
    const auto left = static_cast<std::uint32_t>(order_.size() - i);
    std::swap(order_[i], order_[i + integer_of(drawn.v[i % 4], left)]);
  }
  epoch_ = epoch;
}

}  // namespace tiller
