#pragma once
// Sums and maxima of a warp and of a block, in a fixed order: the result does not depend on when a
// thread runs.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// The sum of all lanes' values, in every lane.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(kFullMask, value, step);
  return value;
}

/// The larger of two; NaN if either is, as PyTorch has it.
__device__ __forceinline__ float larger(float a, float b) {
  if (a != a) return a;
  return a > b || !(b == b) ? (b == b ? a : b) : b;
}

__device__ __forceinline__ float warp_max(float value) {
  for (int step = 16; step > 0; step /= 2)
    value = larger(value, __shfl_xor_sync(kFullMask, value, step));
  return value;
}

/// One value of each warp of a block.
template <class T>
struct BlockStorage {
  Array<T, 32> part;
};

/// The sum over the block's threads, in every thread. Ends with a barrier, so that the storage may
/// be used again. A block of whole warps.
template <class T>
__device__ __forceinline__ T block_sum(BlockStorage<T>& s, T value) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = warp_sum(value);
  if (lane == 0) s.part[warp] = value;
  __syncthreads();
  T sum = s.part[0];
  for (unsigned w = 1; w < warps; ++w) sum += static_cast<T>(s.part[w]);
  __syncthreads();
  return sum;
}

__device__ __forceinline__ float block_max(BlockStorage<float>& s, float value) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  value = warp_max(value);
  if (lane == 0) s.part[warp] = value;
  __syncthreads();
  float largest = s.part[0];
  for (unsigned w = 1; w < warps; ++w) largest = larger(largest, s.part[w]);
  __syncthreads();
  return largest;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
