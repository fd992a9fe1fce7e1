#pragma once
// v4_split_k: the blocks of a tile share its sum, each a range of its steps, and the last of them
// puts the parts together. The rest of the kernel is v3_mma's, before and behind.
//
// math      sum[m,n] = part[0][m,n] + part[1][m,n] + ..., in this order whichever block is last;
//           then v3_mma's epilogue
// shapes    parts [tiles][splits][fragments][threads][4] f32
// mapping   a part lies as the threads hold it in registers: fragment by fragment, thread t's four
//           numbers at place t, so that a warp writes and reads 512 bytes at once
// traffic   4 splits M K bytes written and read, from L2 mostly; the last block of each tile reads
//           its tile's alone
// roofline  what one multiprocessor loads from L2, about 64 bytes a cycle: a part of a 64 x 64 tile
//           takes 256 cycles, as long as a step of it. So steps / splits + splits is to be small:
//           no more parts than the square root of the steps (kernels/gemm/mma_plan.cpp)
// delta     v3_mma gives each tile to one block: an 8x8 map of one picture keeps 12 of 132 SMs
//           busy. Other ways to add parts: atomic additions into one sum lose the order; a second
//           launch is one more that everything behind waits for, for most layers of a small
//           picture; a block that waits for its neighbours hangs where the machine does not hold
//           them all
// limits    workspace 4 splits M K bytes and a counter for each tile; a sum shorter than eight
//           steps has nothing to share, a tile of 128 x 256 no registers to read parts into
#include "kernels/gemm/mma.h"
#include "kernels/last_block.cuh"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Whether a thread has registers to read parts into: the widest tile's sums leave none, and a map
/// that such tiles serve has enough of them without.
template <int kTilesM, int kTilesN>
inline constexpr bool kCanSplit = (kTilesM * kTilesN <= 24);

/// Leaves the block's part of a tile's sum in memory; whether it was the tile's last, and then
/// `sum` is the sum of all parts. `flag` is shared memory that overlaps nothing but what the block
/// has done with.
template <int kTilesM, int kTilesN>
__device__ __forceinline__ bool join_parts(const MmaParams& p, Array<std::uint32_t, 1>& flag,
                                           float (&sum)[kTilesM][kTilesN][4]) {
  static_assert(kCanSplit<kTilesM, kTilesN>);
  constexpr int kFragments = kTilesM * kTilesN, kPart = kFragments * kThreads * 4;
  // Eight loads or more in flight; only nvcc reads it.
  [[maybe_unused]] constexpr int kAhead = kFragments < 8 ? 8 / kFragments : 1;
  const std::int64_t tile = std::int64_t{blockIdx.y} * gridDim.x + blockIdx.x;
  float* parts = p.partial + tile * p.splits * kPart + threadIdx.x * 4;
  float* own = parts + std::int64_t{blockIdx.z} * kPart;
#pragma unroll
  for (int i = 0; i < kTilesM; ++i)
#pragma unroll
    for (int j = 0; j < kTilesN; ++j) {
      store_vec(own + (i * kTilesN + j) * kThreads * 4,
                Vec<float, 4>{{sum[i][j][0], sum[i][j][1], sum[i][j][2], sum[i][j][3]}});
#pragma unroll
      for (float& x : sum[i][j]) x = 0.0f;
    }
  if (!last_block(flag, p.part_counters + tile, p.splits)) return false;
#pragma unroll kAhead
  for (int s = 0; s < p.splits; ++s, parts += kPart) {
#pragma unroll
    for (int i = 0; i < kTilesM; ++i)
#pragma unroll
      for (int j = 0; j < kTilesN; ++j) {
        const Vec<float, 4> part = load_vec<4>(parts + (i * kTilesN + j) * kThreads * 4);
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[i][j][e] += part.v[e];
      }
  }
  return true;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
