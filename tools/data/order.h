#pragma once
// In which order pictures are seen, and what chance decides about each, as functions of a seed.
#include <cstdint>
#include <vector>

#include "runtime/philox.h"

namespace tiller {

/// Places 0, 1, 2, ... run through one epoch of `size` pictures after another. What is drawn for a
/// picture depends on the seed, the epoch and the picture alone, so any place can be gone to.
class Order {
 public:
  Order(std::int64_t size, std::uint64_t seed, bool shuffle);

  std::int64_t epoch(std::int64_t place) const { return place / size_; }
  /// The picture at a place. Remembers the epoch's order: not for several threads at once.
  std::int64_t picture(std::int64_t place);
  /// Four words for what is done to the picture at that place: crop and flip.
  PhiloxWords draw(std::int64_t place, std::int64_t picture) const;

 private:
  PhiloxWords words(std::uint32_t block, std::uint32_t picture, std::int64_t epoch) const;
  void make_order(std::int64_t epoch);

  std::int64_t size_;
  std::uint64_t seed_;
  bool shuffle_;
  std::int64_t epoch_ = -1;           // whose order is remembered
  std::vector<std::uint32_t> order_;  // [size]
};

}  // namespace tiller
