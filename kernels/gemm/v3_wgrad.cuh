#pragma once
// The weight gradient on tensor cores, v3_mma of conv2d_wgrad and linear_wgrad.
//
// math      dw[k,(r,s,c)] = sum over pixels of dy[pixel,k] x[pixel(r,s),c]; dbias[k] = the sum of
//           dy[pixel,k]; operands f16, bf16 or f32 rounded to tf32, sums f32
// shapes    m = K, n = R S C, k = N P Q pixels
// mapping   a block of 8 warps makes kTile x kTile results over one chunk of pixels; a step is 32
//           pixels (16 of f32), whose channels lie side by side in memory: both operands come with
//           the summed dimension outermost. So tiles are stored [pixel][channel] and a warp's
//           fragments come transposed: by ldmatrix.trans, or element by element in f32. A thread
//           copies one column of vectors, so that its tap is decoded once, and walks the pixels
//           with counters. dbias is a product with a column of ones, which needs no memory: the
//           first blocks' first warps make it on the side
// shared    vector v of pixel i stands at v ^ (i % 8) (halves: the eight rows of an ldmatrix) or
//           v ^ (i % 4 * 2) (f32: the four rows and two vectors of a fragment), so that reads touch
//           all banks
// traffic   per step 2 kTile rows of 64 bytes from L2 for 32 (16) kTile^2 products; dw once, as f32
// roofline  mma.sync's rate; for few channels L2's bandwidth
// delta     v2_tiled multiplies in f32 lanes and gives a block all pixels; here blocks share them,
//           and wgrad_merge adds their parts in pairs, so that neither the order nor the error
//           grows with the number of pixels
// limits    channels in whole vectors, sources aligned to 16 bytes (the host pads a copy of others)
#include "kernels/gemm/mma_loader.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

template <class T, int kTile>
struct WgradStorage {
  static constexpr int kStep = 64 / static_cast<int>(sizeof(T));  ///< pixels of a step
  Array<T, kStages * kStep * kTile> a, b;                         // [stage][pixel][channel]
};

/// Where channel `column` of pixel `row` of a tile stands.
template <class T, int kTile>
__device__ __forceinline__ int wgrad_at(int row, int column) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  const int turn = sizeof(T) == 2 ? row % 8 : row % 4 * 2;
  return row * kTile + ((column / kVector) ^ turn) * kVector + column % kVector;
}

/// What one thread of the block copies, and how far it has come.
template <class T, int kTile>
struct WgradLoader {
  using Storage = WgradStorage<T, kTile>;
  static constexpr int kVector = 16 / static_cast<int>(sizeof(T)), kStep = Storage::kStep;
  static constexpr int kVectors = kTile / kVector;       // of a pixel's row
  static constexpr int kPassRows = kThreads / kVectors;  // pixels that the block copies at once
  static constexpr int kPasses = kStep / kPassRows;
  const MmaWgradParams& p;
  int column, row;     // the first element of this thread's vectors within the tiles; first pixel
  int k0, n0;          // the tile's results
  bool in_a, in_b;     // whether the vectors exist
  Tap tap;             // of b's
  int pixel, end;      // the next step's, and where the chunk ends
  Pixel at[kPasses];   // of pixel + row + i * kPassRows
  int step_p, step_q;  // kStep pixels in rows and columns

  __device__ __forceinline__ explicit WgradLoader(const MmaWgradParams& params) : p(params) {
    const ConvShape& z = p.z;
    column = static_cast<int>(threadIdx.x) % kVectors * kVector;
    row = static_cast<int>(threadIdx.x) / kVectors;
    k0 = static_cast<int>(blockIdx.x) * kTile;
    n0 = static_cast<int>(blockIdx.y) * kTile;
    in_a = k0 + column < z.k;
    in_b = n0 + column < z.r * z.s * z.c;
    tap = tap_of(z, in_b ? n0 + column : 0);
    const int pixels = z.n * z.p * z.q;
    pixel = static_cast<int>(blockIdx.z) * p.chunk;
    end = pixels - pixel < p.chunk ? pixels : pixel + p.chunk;
#pragma unroll
    for (int i = 0; i < kPasses; ++i) at[i] = pixel_of(pixel + row + i * kPassRows, z.p, z.q);
    step_p = kStep / z.q;
    step_q = kStep - step_p * z.q;
  }

  __device__ __forceinline__ int steps() const { return (end - pixel + kStep - 1) / kStep; }

  // Starts the copies of the next step into a stage; every thread commits.
  __device__ __forceinline__ void load(Storage& s, int stage) {
    const ConvShape& z = p.z;
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const int line = row + i * kPassRows;
      const bool there = pixel + line < end;
      const T* from = static_cast<const T*>(p.dy.data);
      if (there && in_a) from = element<T>(p.dy, pixel + line, k0 + column);
      const int to = stage * kStep * kTile + wgrad_at<T, kTile>(line, column);
      cp_async<16>(s.a, to, from, there && in_a ? 16 : 0);

      const int h = at[i].p * z.stride + tap.r - z.pad, w = at[i].q * z.stride + tap.s - z.pad;
      const bool inside = there && in_b && h >= 0 && h < z.up * z.h && w >= 0 && w < z.up * z.w;
      from = static_cast<const T*>(p.x0.data);
      if (inside) {
        const std::int64_t source = (std::int64_t{at[i].n} * z.h + h / z.up) * z.w + w / z.up;
        from =
            tap.c < z.c0 ? element<T>(p.x0, source, tap.c) : element<T>(p.x1, source, tap.c - z.c0);
      }
      cp_async<16>(s.b, to, from, inside ? 16 : 0);
      at[i].q += step_q;
      at[i].p += step_p;
      if (at[i].q >= z.q) {
        at[i].q -= z.q;
        ++at[i].p;
      }
      while (at[i].p >= z.p) {
        at[i].p -= z.p;
        ++at[i].n;
      }
    }
    cp_async_commit();
    pixel += kStep;
  }
};

/// Fragments of 16 (8 in f32) pixels from `first` on: 16 results of m from `column` on.
template <int kTile, class T, int kSize>
__device__ __forceinline__ void wgrad_fragment_a(std::uint32_t (&r)[4], Array<T, kSize>& array,
                                                 int base, int first, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (sizeof(T) == 2) {
    ldmatrix_x4_trans(
        r, array,
        base + wgrad_at<T, kTile>(first + lane % 8 + lane / 16 * 8, column + lane / 8 % 2 * 8));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      r[i] = to_tf32(
          half_detail::bits_of(array[base + wgrad_at<T, kTile>(first + lane % 4 + i / 2 * 4,
                                                               column + lane / 4 + i % 2 * 8)]));
  }
}
/// The same pixels' 16 results of n: two fragments of eight.
template <int kTile, class T, int kSize>
__device__ __forceinline__ void wgrad_fragment_b(std::uint32_t (&r)[4], Array<T, kSize>& array,
                                                 int base, int first, int column) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (sizeof(T) == 2) {
    ldmatrix_x4_trans(
        r, array,
        base + wgrad_at<T, kTile>(first + lane % 8 + lane / 8 % 2 * 8, column + lane / 16 * 8));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      r[i] = to_tf32(
          half_detail::bits_of(array[base + wgrad_at<T, kTile>(first + lane % 4 + i % 2 * 4,
                                                               column + lane / 4 + i / 2 * 8)]));
  }
}

/// A register of ones: two halves, or one tf32.
__device__ __forceinline__ std::uint32_t ones(f16) { return 0x3C003C00u; }
__device__ __forceinline__ std::uint32_t ones(bf16) { return 0x3F803F80u; }
__device__ __forceinline__ std::uint32_t ones(float) { return 0x3F800000u; }

template <class T, int kTile>
__global__ void __launch_bounds__(kThreads, 1)
    wgrad_mma_kernel(const MmaWgradParams __grid_constant__ p) {
  using Loader = WgradLoader<T, kTile>;
  constexpr int kStep = Loader::kStep, kDepth = 32 / static_cast<int>(sizeof(T));  // of one mma
  constexpr int kWarpM = kTile / 2, kWarpN = kTile / 4;  // warps stand 2 x 4
  constexpr int kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;
  auto& s = shared<WgradStorage<T, kTile>>();
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int warp_m = warp / 4 * kWarpM, warp_n = warp % 4 * kWarpN;

  Loader loader(p);
  const int steps = loader.steps();
  const bool bias = p.dbias && blockIdx.y == 0 && warp_n == 0;
  float sum[kTilesM][kTilesN][4] = {}, bias_sum[kTilesM][4] = {};
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) loader.load(s, stage);
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // as in v3_mma
    loader.load(s, (step + kStages - 1) % kStages);
    const int base = step % kStages * kStep * kTile;
#pragma unroll
    for (int part = 0; part < kStep / kDepth; ++part) {
      std::uint32_t a[kTilesM][4], b[kTilesN / 2][4];
#pragma unroll
      for (int i = 0; i < kTilesM; ++i)
        wgrad_fragment_a<kTile>(a[i], s.a, base, part * kDepth, warp_m + i * 16);
#pragma unroll
      for (int j = 0; j < kTilesN / 2; ++j)
        wgrad_fragment_b<kTile>(b[j], s.b, base, part * kDepth, warp_n + j * 16);
#pragma unroll
      for (int i = 0; i < kTilesM; ++i)
#pragma unroll
        for (int j = 0; j < kTilesN; ++j) {
          const std::uint32_t own[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
          mma(T{}, sum[i][j], a[i], own);
        }
      if (bias) {  // the same for a whole warp
        const std::uint32_t own[2] = {ones(T{}), ones(T{})};
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) mma(T{}, bias_sum[i], a[i], own);
      }
    }
  }
  cp_async_wait<0>();

  const int taps = p.z.r * p.z.s;
  const std::int64_t weights = std::int64_t{p.k} * taps * p.c;
  float* part = p.partial + blockIdx.z * p.pitch;
  float* dw = p.splits > 1 ? part : p.dw;
  float* dbias = p.splits > 1 ? part + weights : p.dbias;
#pragma unroll
  for (int j = 0; j < kTilesN; ++j) {
    // Column pairs never straddle a tap: padded channels are even.
    const int column = loader.n0 + warp_n + j * 8 + lane % 4 * 2;
    const Tap tap = tap_of(p.z, column);
    if (tap.r >= p.z.r || tap.c >= p.c) continue;
    const int to = (tap.r * p.z.s + tap.s) * p.c + tap.c;
#pragma unroll
    for (int i = 0; i < kTilesM; ++i)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int k = loader.k0 + warp_m + i * 16 + lane / 4 + e * 8;
        if (k >= p.k) continue;
        float* out = dw + std::int64_t{k} * taps * p.c + to;
        if (p.pairs) {
          *reinterpret_cast<Vec<float, 2>*>(out) = {{sum[i][j][2 * e], sum[i][j][2 * e + 1]}};
        } else {
          out[0] = sum[i][j][2 * e];
          if (tap.c + 1 < p.c) out[1] = sum[i][j][2 * e + 1];
        }
      }
  }
  if (!bias || lane % 4 != 0) return;
#pragma unroll
  for (int i = 0; i < kTilesM; ++i)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int k = loader.k0 + warp_m + i * 16 + lane / 4 + e * 8;
      if (k < p.k) dbias[k] = bias_sum[i][2 * e];
    }
}

template <class T, int kTile>
void launch_wgrad(const char* name, const MmaWgradParams& p, Stream stream) {
  const dim3 grid(static_cast<unsigned>((p.k + kTile - 1) / kTile),
                  static_cast<unsigned>((p.z.r * p.z.s * p.z.c + kTile - 1) / kTile),
                  static_cast<unsigned>(p.splits));
  launch({name, grid, kThreads, shared_bytes<WgradStorage<T, kTile>>()}, stream,
         wgrad_mma_kernel<T, kTile>, p);
}

template <int kTile>
void mma_wgrad(const MmaWgradParams& p, Stream stream) {
  switch (p.dy.dtype) {
    case DType::f16:
      return launch_wgrad<f16, kTile>("wgrad_mma_f16", p, stream);
    case DType::bf16:
      return launch_wgrad<bf16, kTile>("wgrad_mma_bf16", p, stream);
    default:
      return launch_wgrad<float, kTile>("wgrad_mma_tf32", p, stream);
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
