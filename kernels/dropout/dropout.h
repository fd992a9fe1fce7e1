#pragma once
// Dropout replays from its counter: the same call on dy is the backward, and a checkpointed block
// that runs again drops the same elements. y = keep ? x * (1 / (1 - p)) : 0.
#include "runtime/op.h"
#include "runtime/random.h"

namespace tiller {

/// Element e of entry n, counted over the entry in row order, has the uniform number of word e % 4
/// of Philox's counter {layer * 2^24 + e / 4, key.sample + n, key.step, key.stream}; it drops when
/// that number is below p. An entry has at most 2^26 elements.
struct DropoutArgs {
  Tensor x;  // [N,...]
  Tensor y;  // out; may be x
  double p = 0;
  RandomKey key;            ///< sample: of entry 0 (entry n uses sample + n); stream: dropout
  std::uint32_t layer = 0;  ///< which dropout layer, so that layers differ; below kDropoutMaxLayers
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

inline constexpr std::int64_t kDropoutMaxElements = std::int64_t{1} << 26;  ///< of one entry
inline constexpr std::uint32_t kDropoutMaxLayers = 256;

void check(const DropoutArgs& args);
Cost cost(const DropoutArgs& args);
std::string describe(const DropoutArgs& args);

extern const Op<DropoutArgs> dropout_fwd;

}  // namespace tiller
