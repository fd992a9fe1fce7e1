#pragma once
// What the lanes of a warp do together without tensor cores: shuffles, votes, __syncwarp. Each is a
// struct of one lane's operands and a function that computes every lane's result, run by the last
// lane to come.
#include <cstring>
#include <type_traits>

#include "kernels/simt/block.h"

namespace tiller::executor {

/// Which lane a shuffle reads from.
enum class Shuffle : std::uint8_t { index, up, down, exclusive_or };

/// The value as bits, so that one function serves every type of at most eight bytes.
struct ShuffleOperand {
  std::uint64_t in, out;
  Shuffle kind;
  unsigned operand, width;
};

void shuffle(unsigned mask, const char* what, Where where, ShuffleOperand& operand);

template <class T>
T shuffle(unsigned mask, const char* what, Where where, Shuffle kind, T value, unsigned operand,
          unsigned width) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  ShuffleOperand lane{0, 0, kind, operand, width};
  std::memcpy(&lane.in, &value, sizeof value);
  shuffle(mask, what, where, lane);
  std::memcpy(&value, &lane.out, sizeof value);
  return value;
}

/// The lanes of the mask whose predicate holds.
unsigned ballot(unsigned mask, const char* what, Where where, bool predicate);

void sync_warp(unsigned mask, Where where);

}  // namespace tiller::executor
