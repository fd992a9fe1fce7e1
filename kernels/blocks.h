#pragma once
// What the fast rows of memory-bound operations share. Such a row cuts its elements, in row order,
// into blocks that fit the first-level cache and sees each as a dense run of f32, whatever the
// dtype and stride behind it; dense f32 tensors are used in place. So an operation is one loop over
// floats.
#include <algorithm>

#include "kernels/reduce/view.h"
#include "runtime/parallel.h"

namespace tiller {

inline constexpr std::int64_t kBlockElements = 1024;      ///< of a block: 4 KiB of f32
inline constexpr std::int64_t kTaskElements = 16 * 1024;  ///< of a task of launch(), whole blocks

/// Scratch memory for one block.
struct BlockBuffer {
  alignas(64) float data[kBlockElements];
};

/// Elements [e, e + n) of a tensor as f32: in place when that is what they are, else converted into
/// `buffer`. No f64.
const float* read_block(const Tensor& t, std::int64_t e, std::int64_t n, float* buffer);

/// Where to compute elements [e, e + n) of an output before write_block().
float* block_target(const Tensor& t, std::int64_t e, float* buffer);

/// Rounds and stores elements [e, e + n) computed in block_target().
void write_block(const Tensor& t, std::int64_t e, std::int64_t n, const float* from);

/// Elements [e, e + n) of `small` broadcast over a tensor of the given view: element (o, m, i) is
/// small[o, i].
const float* read_broadcast(const Tensor& small, const ReduceView& view, std::int64_t e,
                            std::int64_t n, float* buffer);

/// Calls body(e, n) for every block of `numel` elements, in tasks of kTaskElements.
template <class Body>
void launch_blocks(const char* kernel, std::int64_t numel, const Body& body) {
  launch(kernel, (numel + kTaskElements - 1) / kTaskElements, [&](std::int64_t task) {
    const std::int64_t end = std::min(numel, (task + 1) * kTaskElements);
    for (std::int64_t e = task * kTaskElements; e < end; e += kBlockElements)
      body(e, std::min(kBlockElements, end - e));
  });
}

/// supports() of rows made of blocks.
template <class... Tensors>
bool no_f64(const Tensors&... tensors) {
  return ((!tensors.defined() || tensors.dtype() != DType::f64) && ...);
}

}  // namespace tiller
