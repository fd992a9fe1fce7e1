#pragma once
// The tensor-core GEMM, v3_mma: an implicit GEMM with asynchronous copies in four stages.
//
// math      y[m,k] = sum over (r,s,c) of x[pixel(m,r,s),c] w[k,r,s,c], then over the skip's
//           channels, + bias + residual; operands f16, bf16 or f32 rounded to tf32, sums f32
// shapes    m = N P Q pixels, n = K channels, k = R S C + skip channels, in that order
// mapping   a block of 8 warps makes 128 x kWidth results; a step is 64 bytes of every row (32
//           halves or 16 floats), always within 16-byte vectors of one tap. Thread t copies vector
//           t % 4 of rows t / 4, t / 4 + 64, ... and walks the taps with three counters, without a
//           division. Warps stand 2 x 4 (4 x 2 for narrow tiles); a warp's fragments come by
//           ldmatrix, its 16 x 8 products by mma.sync
// shared    rows of 64 bytes would put every second row into the same banks: vector v of row i
//           stands at v ^ (i / 2 % 4), so that the eight rows of an ldmatrix touch all 32 banks
//           once
// traffic   per step (128 + kWidth) 64 bytes from L2 for 128 kWidth 32 (16) products
// roofline  mma.sync's rate for wide layers; L2's bandwidth for narrow ones
// delta     v2_tiled multiplies in f32 lanes and waits for its loads; here 4096 multiply-adds are
//           one instruction and three steps of loads are in flight
// limits    C of each source a multiple of a vector, sources aligned to 16 bytes; the epilogue
//           stores two elements a lane at a time; a grid smaller than the machine leaves SMs idle
//           (split-K is the next step)
#include "kernels/conv2d/problem.cuh"
#include "kernels/gemm/mma.h"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr int kMmaRows = 128, kStages = 4, kRowVectors = 4;

template <class T, int kWidth>
struct MmaStorage {
  static constexpr int kStep = 64 / static_cast<int>(sizeof(T));  ///< terms of a step
  Array<T, kStages * kMmaRows * kStep> a;
  Array<T, kStages * kWidth * kStep> b;
};

/// Where vector `vector` of row `row` starts, in elements.
template <class T>
__device__ __forceinline__ int swizzled(int row, int vector) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  return (row * kRowVectors + (vector ^ (row / 2 % 4))) * kVector;
}

/// What one thread of the block copies, and how far it has come along k.
template <class T, int kWidth>
struct MmaLoader {
  static constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  static constexpr int kStep = MmaStorage<T, kWidth>::kStep;
  static constexpr int kRowsA = kMmaRows / 64, kRowsB = (kWidth + 63) / 64;
  const MmaParams& p;
  int vector, first, taps, total;  // of a row; the first row; terms of the taps, and of all
  int r, s, c, k;                  // the next vector's
  Pixel pixel[kRowsA];             // n, and the top left of what it reads; n < 0: beyond the end
  int m0, n0;

  __device__ __forceinline__ explicit MmaLoader(const MmaParams& params) : p(params) {
    const ConvShape& z = p.z;
    vector = static_cast<int>(threadIdx.x) % kRowVectors;
    first = static_cast<int>(threadIdx.x) / kRowVectors;
    taps = z.r * z.s * z.c;
    total = taps + z.skip_c;
    m0 = static_cast<int>(blockIdx.x) * kMmaRows;
    n0 = static_cast<int>(blockIdx.y) * kWidth;
#pragma unroll
    for (int i = 0; i < kRowsA; ++i) {
      const int m = m0 + first + i * 64;
      pixel[i] = pixel_of(m, z.p, z.q);
      pixel[i].p = pixel[i].p * z.stride - z.pad;
      pixel[i].q = pixel[i].q * z.stride - z.pad;
      if (m >= z.n * z.p * z.q) pixel[i].n = -1;
    }
    k = 0;
    r = s = c = 0;
    advance(vector * kVector);
  }

  __device__ __forceinline__ void advance(int terms) {
    k += terms;
    c += terms;
    while (c >= p.z.c && r < p.z.r) {
      c -= p.z.c;
      if (++s == p.z.s) {
        s = 0;
        ++r;
      }
    }
  }

  // The vector of x that row i reads; `valid` becomes 0 where it is padding or beyond the end.
  __device__ __forceinline__ const T* source(int i, int& valid) const {
    const ConvShape& z = p.z;
    const auto at = [](const View& v, std::int64_t row, int channel) {
      return static_cast<const T*>(v.data) + row * v.row_stride + channel;
    };
    valid = 0;
    if (pixel[i].n < 0 || k >= total) return static_cast<const T*>(p.x0.data);
    if (k >= taps) {
      valid = 16;
      const int channel = k - taps;
      const std::int64_t row = m0 + first + i * 64;
      return channel < z.c2 ? at(p.skip0, row, channel) : at(p.skip1, row, channel - z.c2);
    }
    const int h = pixel[i].p + r, w = pixel[i].q + s;
    if (h < 0 || h >= z.up * z.h || w < 0 || w >= z.up * z.w)
      return static_cast<const T*>(p.x0.data);
    valid = 16;
    const std::int64_t row = (std::int64_t{pixel[i].n} * z.h + h / z.up) * z.w + w / z.up;
    return c < z.c0 ? at(p.x0, row, c) : at(p.x1, row, c - z.c0);
  }

  // Starts the copies of the next step into a stage. Every thread commits, so that groups are
  // steps.
  __device__ __forceinline__ void load(MmaStorage<T, kWidth>& storage, int stage) {
#pragma unroll
    for (int i = 0; i < kRowsA; ++i) {
      int valid;
      const T* from = source(i, valid);
      cp_async<16>(storage.a, stage * kMmaRows * kStep + swizzled<T>(first + i * 64, vector), from,
                   valid);
    }
#pragma unroll
    for (int i = 0; i < kRowsB; ++i) {
      const int row = first + i * 64;
      if (row >= kWidth) continue;
      const bool there = n0 + row < p.z.k && k < total;
      const T* from = static_cast<const T*>(p.w);
      if (there && k < taps) from += std::int64_t{n0 + row} * taps + k;
      if (there && k >= taps)
        from = static_cast<const T*>(p.skip_w) + std::int64_t{n0 + row} * p.z.skip_c + k - taps;
      cp_async<16>(storage.b, stage * kWidth * kStep + swizzled<T>(row, vector), from,
                   there ? 16 : 0);
    }
    cp_async_commit();
    advance(kStep);
  }
};

/// Bias, the skip's bias, residual; rounded once.
__device__ __forceinline__ void mma_write(const MmaParams& p, int m, int n, float sum) {
  if (m >= p.z.n * p.z.p * p.z.q || n >= p.z.k) return;
  if (p.bias.data) sum += rounded(p.y0.dtype, load(p.bias, 0, n));
  if (p.skip_bias.data) sum += rounded(p.y0.dtype, load(p.skip_bias, 0, n));
  if (p.residual.data) {
    std::int64_t row = m;
    if (p.residual_up2x) {
      const Pixel at = pixel_of(m, p.z.p, p.z.q);
      row = (std::int64_t{at.n} * (p.z.p / 2) + at.p / 2) * (p.z.q / 2) + at.q / 2;
    }
    sum += load(p.residual, row, n);
  }
  if (n < p.split)
    store(p.y0, m, n, sum);
  else
    store(p.y1, m, n - p.split, sum);
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads, 1) mma_kernel(const MmaParams __grid_constant__ p) {
  constexpr int kStep = MmaStorage<T, kWidth>::kStep;
  constexpr int kWarpsN = kWidth >= 128 ? 4 : 2, kWarpsM = 8 / kWarpsN;
  constexpr int kWarpM = kMmaRows / kWarpsM, kWarpN = kWidth / kWarpsN;
  constexpr int kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;
  static_assert(kTilesN % 2 == 0, "one ldmatrix.x4 feeds two tiles of eight channels");
  auto& s = shared<MmaStorage<T, kWidth>>();
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int warp_m = warp / kWarpsN * kWarpM, warp_n = warp % kWarpsN * kWarpN;

  MmaLoader<T, kWidth> loader(p);
  const int steps = (loader.total + kStep - 1) / kStep;
  float sum[kTilesM][kTilesN][4] = {};
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) loader.load(s, stage);

  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    // Two things at once: everybody's copies of this step are there, and everybody has read the
    // stage that the next copies overwrite.
    __syncthreads();
    loader.load(s, (step + kStages - 1) % kStages);
    const int a0 = step % kStages * kMmaRows * kStep, b0 = step % kStages * kWidth * kStep;
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // two vectors of k each
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
  cp_async_wait<0>();
#pragma unroll
  for (int i = 0; i < kTilesM; ++i)
#pragma unroll
    for (int j = 0; j < kTilesN; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        mma_write(p, loader.m0 + warp_m + i * 16 + lane / 4 + e / 2 * 8,
                  loader.n0 + warp_n + j * 8 + lane % 4 * 2 + e % 2, sum[i][j][e]);
}

template <int kWidth>
void mma_product(const MmaParams& p, Stream stream) {
  const dim3 grid(static_cast<unsigned>((p.z.n * p.z.p * p.z.q + kMmaRows - 1) / kMmaRows),
                  static_cast<unsigned>((p.z.k + kWidth - 1) / kWidth));
  switch (p.x0.dtype) {
    case DType::f16:
      return launch({"mma_f16", grid, kThreads, shared_bytes<MmaStorage<f16, kWidth>>()}, stream,
                    mma_kernel<f16, kWidth>, p);
    case DType::bf16:
      return launch({"mma_bf16", grid, kThreads, shared_bytes<MmaStorage<bf16, kWidth>>()}, stream,
                    mma_kernel<bf16, kWidth>, p);
    default:
      return launch({"mma_tf32", grid, kThreads, shared_bytes<MmaStorage<float, kWidth>>()}, stream,
                    mma_kernel<float, kWidth>, p);
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
