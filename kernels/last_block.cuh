#pragma once
// "Last block done": several blocks of a launch leave results in global memory, and the one that
// comes last goes on with all of them. Nobody waits, so it asks nothing of the order in which
// blocks run or of how many fit the machine, and it saves the launch that would go on instead
// (NVIDIA's sample threadFenceReduction). Which block is last differs from run to run: it must use
// the results in an order of their own, and then the bits do not differ.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Whether the block is the last of `count` that come here with this counter; then all of its
/// threads see what the others stored before. All threads of a block come. The counter, zero
/// before, is zero again behind the last one (runtime/counters.h).
__device__ __forceinline__ bool last_block(Array<std::uint32_t, 1>& flag, std::uint32_t* counter,
                                           int count) {
  const auto last = static_cast<std::uint32_t>(count) - 1;
  __syncthreads();  // the whole block has stored
  if (threadIdx.x == 0) {
    // One thread's fences serve the block: barriers hand on what it saw, and what was seen by it.
    __threadfence();
    flag[0] = atomicInc(counter, last) == last ? 1 : 0;
    __threadfence();
  }
  __syncthreads();
  return flag[0] != 0;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
