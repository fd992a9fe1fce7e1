#pragma once
// The tensor-core GEMM, v3_mma: an implicit GEMM with asynchronous copies in four stages.
//
// math      y[m,k] = sum over (r,s,c) of x[pixel(m,r,s),c] w[k,r,s,c], then over the skip's
//           channels, + bias + residual; operands f16, bf16 or f32 rounded to tf32, sums f32
// shapes    m = N P Q pixels, n = K channels, k = R S C + skip channels, in that order
// mapping   a block of 8 warps makes kRows x kWidth results; a step is 64 bytes of every row (32
//           halves or 16 floats), always within 16-byte vectors of one tap
//           (kernels/gemm/mma_loader.cuh). Warps stand 2 x 4 (4 x 2 in tiles of 128 rows and less
//           than 128 columns); a warp's fragments come by ldmatrix, its 16 x 8 products by mma.sync
// epilogue  kernels/gemm/epilogue.cuh: the sums pass through the memory of the pipeline in slices;
//           four channels a thread. The moments of what was stored come along
//           (kernels/gemm/tile_moments.cuh)
// traffic   per step (kRows + kWidth) 64 bytes from L2 for 32 (16) kRows kWidth products; y and
//           residual once, whole lines at a time
// roofline  mma.sync's rate for wide layers; L2's bandwidth for narrow ones
// delta     v2_tiled multiplies in f32 lanes and waits for its loads; here 4096 multiply-adds are
//           one instruction and three steps of loads are in flight
// limits    C of each source a multiple of a vector, sources aligned to 16 bytes (the host pads a
//           copy of others); a grid smaller than the machine leaves SMs idle, which is v4_split_k's
#include "kernels/gemm/epilogue.cuh"
#include "kernels/gemm/mma_loader.cuh"
#include "kernels/gemm/v4_split_k.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// How the warps of a block share a tile.
template <int kRows, int kWidth>
struct MmaWarps {
  static constexpr int kAcross = kWidth >= 128 || kRows == 64 ? 4 : 2, kDown = 8 / kAcross;
  static constexpr int kWarpM = kRows / kDown, kWarpN = kWidth / kAcross;
  static constexpr int kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;
  static constexpr int kSliceRows = 16 * kDown;
  static_assert(kTilesN % 2 == 0, "one ldmatrix.x4 feeds two tiles of eight channels");
};

template <class T, int kRows, int kWidth>
union MmaStorage {
  MmaStages<T, kRows, kWidth> stages;
  Finishing<kRows, kWidth, MmaWarps<kRows, kWidth>::kSliceRows> after;  // the pipeline is empty
};

/// One step of a warp: two vectors of k each.
template <class T, int kRows, int kWidth, int kTilesM, int kTilesN>
__device__ __forceinline__ void mma_step(MmaStages<T, kRows, kWidth>& s, int stage, int warp_m,
                                         int warp_n, float (&sum)[kTilesM][kTilesN][4]) {
  constexpr int kStep = MmaStages<T, kRows, kWidth>::kStep;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int a0 = stage * kRows * kStep, b0 = stage * kWidth * kStep;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    std::uint32_t a[kTilesM][4], b[kTilesN / 2][4];
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
      ldmatrix_x4(a[i], s.a, a0 + swizzled<T>(warp_m + i * 16 + lane % 16, half * 2 + lane / 16));
      if constexpr (sizeof(T) == 4)
        for (std::uint32_t& x : a[i]) x = to_tf32(x);
    }
#pragma unroll
    for (int j = 0; j < kTilesN / 2; ++j) {
      ldmatrix_x4(
          b[j], s.b,
          b0 + swizzled<T>(warp_n + j * 16 + lane % 8 + lane / 16 * 8, half * 2 + lane / 8 % 2));
      if constexpr (sizeof(T) == 4)
        for (std::uint32_t& x : b[j]) x = to_tf32(x);
    }
#pragma unroll
    for (int i = 0; i < kTilesM; ++i)
#pragma unroll
      for (int j = 0; j < kTilesN; ++j) {
        const std::uint32_t own[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
        mma(T{}, sum[i][j], a[i], own);
      }
  }
}

/// What happens to x between its arrival in shared memory and the product: nothing. v3_normed has
/// another.
struct AsLoaded {
  template <class Loader>
  __device__ __forceinline__ void begin(const MmaParams&, const Loader&) {}
  template <class Loader, class Stages>
  __device__ __forceinline__ void arrived(const Loader&, Stages&, int) {}
};

/// A block's tile.
template <class T, int kRows, int kWidth, class Input>
__device__ __forceinline__ void mma_tile(const MmaParams& p, MmaStorage<T, kRows, kWidth>& storage,
                                         Input& input) {
  using Warps = MmaWarps<kRows, kWidth>;
  auto& stages = storage.stages;
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int down = warp / Warps::kAcross;
  const int warp_m = down * Warps::kWarpM, warp_n = warp % Warps::kAcross * Warps::kWarpN;

  MmaLoader<T, kRows, kWidth> loader(p);
  float sum[Warps::kTilesM][Warps::kTilesN][4] = {};
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) loader.load(stages, stage);
  input.begin(p, loader);
  for (int step = 0; step < loader.steps; ++step) {
    cp_async_wait<kStages - 2>();
    input.arrived(loader, stages, step % kStages);  // of this thread's copies
    // Two things at once: everybody's copies of this step are there, and everybody has read the
    // stage that the next copies overwrite.
    __syncthreads();
    loader.load(stages, (step + kStages - 1) % kStages);
    mma_step(stages, step % kStages, warp_m, warp_n, sum);
  }
  cp_async_wait<0>();

  auto& after = storage.after;
  if constexpr (kCanSplit<Warps::kTilesM, Warps::kTilesN>)
    if (p.splits > 1 && !join_parts(p, after.last, sum)) return;
  constexpr int kPitch = Slice<Warps::kSliceRows, kWidth>::kPitch;
  __syncthreads();  // the pipeline's memory is free
#pragma unroll
  for (int i = 0; i < Warps::kTilesM; ++i) {
#pragma unroll
    for (int j = 0; j < Warps::kTilesN; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        store_vec(after.slice.sums,
                  (down * 16 + lane / 4 + e * 8) * kPitch + warp_n + j * 8 + lane % 4 * 2,
                  Vec<float, 2>{{sum[i][j][2 * e], sum[i][j][2 * e + 1]}});
    finish_slice<T>(p, after, loader.m0, loader.n0,
                    [&](int row) { return row / 16 * Warps::kWarpM + i * 16 + row % 16; });
  }
  if (p.stats) finish_moments(p, after.pieces, after.last, loader.n0);
}

template <class T, int kRows, int kWidth>
__global__ void __launch_bounds__(kThreads, 1) mma_kernel(const MmaParams __grid_constant__ p) {
  AsLoaded input;
  mma_tile<T, kRows, kWidth>(p, shared<MmaStorage<T, kRows, kWidth>>(), input);
}

/// The blocks of a product.
template <int kRows, int kWidth>
dim3 mma_grid(const MmaParams& p) {
  return dim3(static_cast<unsigned>((p.z.n * p.z.p * p.z.q + kRows - 1) / kRows),
              static_cast<unsigned>((p.z.k + kWidth - 1) / kWidth),
              static_cast<unsigned>(p.splits));
}

template <class T, int kRows, int kWidth>
void launch_mma(const char* name, const MmaParams& p, Stream stream) {
  launch({name, mma_grid<kRows, kWidth>(p), kThreads, shared_bytes<MmaStorage<T, kRows, kWidth>>()},
         stream, mma_kernel<T, kRows, kWidth>, p);
}

template <int kRows, int kWidth>
void mma_product(const MmaParams& p, Stream stream) {
  switch (p.x0.dtype) {
    case DType::f16:
      return launch_mma<f16, kRows, kWidth>("mma_f16", p, stream);
    case DType::bf16:
      return launch_mma<bf16, kRows, kWidth>("mma_bf16", p, stream);
    default:
      return launch_mma<float, kRows, kWidth>("mma_tf32", p, stream);
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
