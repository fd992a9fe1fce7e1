#pragma once
// How the tiles of the implicit GEMM come from global to shared memory: no matrix of gathered
// pixels exists, the loader walks pixels and taps.
#include "kernels/conv2d/problem.cuh"
#include "kernels/gemm/mma.h"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr int kStages = 4, kRowVectors = 4;

/// The stages of the pipeline: rows of 64 bytes, swizzled.
template <class T, int kRows, int kWidth>
struct MmaStages {
  static constexpr int kStep = 64 / static_cast<int>(sizeof(T));  ///< terms of a step
  Array<T, kStages * kRows * kStep> a;
  Array<T, kStages * kWidth * kStep> b;
};

/// Where vector `vector` of row `row` starts, in elements. Rows of 64 bytes would put every second
/// row into the same banks: vector v of row i stands at v ^ (i / 2 % 4), so that the eight rows of
/// an ldmatrix touch all 32 banks once.
template <class T>
__device__ __forceinline__ int swizzled(int row, int vector) {
  constexpr int kVector = 16 / static_cast<int>(sizeof(T));
  return (row * kRowVectors + (vector ^ (row / 2 % 4))) * kVector;
}

/// What one thread of the block copies, and how far it has come along k. Thread t copies vector
/// t % 4 of rows t / 4, t / 4 + 64, ... and walks the taps with three counters, without a division.
template <class T, int kRows, int kWidth>
struct MmaLoader {
  using Stages = MmaStages<T, kRows, kWidth>;
  static constexpr int kVector = 16 / static_cast<int>(sizeof(T)), kStep = Stages::kStep;
  static constexpr int kRowsA = kRows / 64, kRowsB = (kWidth + 63) / 64;
  const MmaParams& p;
  int vector, first;    // of a row; the first row
  int taps, end;        // terms of the taps; where this block's part of the sum ends
  int r, s, c, k;       // the next vector's
  Pixel pixel[kRowsA];  // n, and the top left of what it reads; n < 0: beyond the end
  int m0, n0, steps;

  __device__ __forceinline__ explicit MmaLoader(const MmaParams& params) : p(params) {
    const ConvShape& z = p.z;
    vector = static_cast<int>(threadIdx.x) % kRowVectors;
    first = static_cast<int>(threadIdx.x) / kRowVectors;
    taps = z.r * z.s * z.c;
    m0 = static_cast<int>(blockIdx.x) * kRows;
    n0 = static_cast<int>(blockIdx.y) * kWidth;
#pragma unroll
    for (int i = 0; i < kRowsA; ++i) {
      const int m = m0 + first + i * 64;
      pixel[i] = pixel_of(m, z.p, z.q);
      pixel[i].p = pixel[i].p * z.stride - p.pad_h;
      pixel[i].q = pixel[i].q * z.stride - p.pad_w;
      if (m >= z.n * z.p * z.q) pixel[i].n = -1;
    }
    const int total = taps + z.skip_c, all = (total + kStep - 1) / kStep;
    const int each = (all + p.splits - 1) / p.splits, begin = static_cast<int>(blockIdx.z) * each;
    steps = all - begin < each ? all - begin : each;
    end = total < (begin + steps) * kStep ? total : (begin + steps) * kStep;
    k = 0;
    r = s = c = 0;
    advance(begin * kStep + vector * kVector);
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
    valid = 0;
    if (pixel[i].n < 0 || k >= end) return static_cast<const T*>(p.x0.data);
    if (k >= taps) {
      valid = 16;
      const int channel = k - taps;
      const std::int64_t row = m0 + first + i * 64;
      return channel < z.c2 ? element<T>(p.skip0, row, channel)
                            : element<T>(p.skip1, row, channel - z.c2);
    }
    const int h = pixel[i].p + r, w = pixel[i].q + s;
    if (h < 0 || h >= z.up * z.h || w < 0 || w >= z.up * z.w)
      return static_cast<const T*>(p.x0.data);
    valid = 16;
    const std::int64_t row = (std::int64_t{pixel[i].n} * z.h + h / z.up) * z.w + w / z.up;
    return c < z.c0 ? element<T>(p.x0, row, c) : element<T>(p.x1, row, c - z.c0);
  }

  // Starts the copies of the next step into a stage. Every thread commits, so that groups are
  // steps.
  __device__ __forceinline__ void load(Stages& stages, int stage) {
#pragma unroll
    for (int i = 0; i < kRowsA; ++i) {
      int valid;
      const T* from = source(i, valid);
      cp_async<16>(stages.a, stage * kRows * kStep + swizzled<T>(first + i * 64, vector), from,
                   valid);
    }
#pragma unroll
    for (int i = 0; i < kRowsB; ++i) {
      const int row = first + i * 64;
      if (row >= kWidth) continue;
      const bool there = n0 + row < p.z.k && k < end;
      const T* from = static_cast<const T*>(p.w);
      if (there && k < taps) from += std::int64_t{n0 + row} * taps + k;
      if (there && k >= taps)
        from = static_cast<const T*>(p.skip_w) + std::int64_t{n0 + row} * p.z.skip_c + k - taps;
      cp_async<16>(stages.b, stage * kWidth * kStep + swizzled<T>(row, vector), from,
                   there ? 16 : 0);
    }
    cp_async_commit();
    advance(kStep);
  }
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
