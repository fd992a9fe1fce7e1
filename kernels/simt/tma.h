#pragma once
// TMA: one thread asks, an engine copies a box of a tensor into shared memory and tells an mbarrier
// how many bytes are there. Here the target is poisoned at once, and the copy is done some time
// later: in random orders of threads at random, in fixed orders when nobody else can go on.
#include <array>
#include <cstddef>
#include <vector>

#include "kernels/simt/tensor_map.h"
#include "kernels/simt/where.h"

namespace tiller::executor {

class Block;

/// One copy in flight.
struct TmaCopy {
  std::byte* to;
  const TensorMap* map;
  std::array<int, 5> at;     ///< coordinates
  std::array<int, 2> shift;  ///< im2col: the tap, along W and H
  std::size_t barrier;
  Where where;
};

class Tma {
 public:
  bool idle() const { return flying_.empty(); }
  void clear() { flying_.clear(); }
  void push(const TmaCopy& copy) { flying_.push_back(copy); }
  /// Does copy i, and tells its barrier.
  void complete(Block& block, std::size_t i);
  std::size_t count() const { return flying_.size(); }
  Where oldest() const { return flying_.front().where; }

 private:
  std::vector<TmaCopy> flying_;
};

/// cp.async.bulk.tensor with mbarrier::complete_tx::bytes. `elements` are those that the target has
/// from there on.
void tma_load(void* to, int elements, int element, const TensorMap& map, void* barrier, int rank,
              const int* at, const int* shift, Where where);

/// Where byte `offset` of shared memory stands after the 128-byte swizzle: bits 4-6 are flipped by
/// bits 7-9.
constexpr std::size_t swizzle_128(std::size_t offset) { return offset ^ ((offset >> 7 & 7) << 4); }

}  // namespace tiller::executor
