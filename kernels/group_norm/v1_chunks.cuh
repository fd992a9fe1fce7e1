#pragma once
// What the group norm kernels share: how blocks cover an image, and one element's way through the
// formulas of kernels/group_norm/group_norm.h.
#include "kernels/group_norm/kernels.h"
#include "kernels/view.cuh"
#include "kernels/warp.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// A block of 32 x 8 threads covers 32 neighbouring channels and a chunk of pixels, each row of
/// threads every eighth pixel.
inline constexpr int kColumns = 32, kRows = 8;
inline constexpr std::int64_t kChunkPixels = 256;

inline dim3 chunk_grid(std::int64_t channels, std::int64_t pixels, std::int64_t samples) {
  return dim3(static_cast<unsigned>((channels + kColumns - 1) / kColumns),
              static_cast<unsigned>(group_norm_chunks(pixels)), static_cast<unsigned>(samples));
}

/// Two numbers of each thread.
struct PairStorage {
  Array<float, kColumns * kRows> first, second;
};

/// Where a thread stands in its block's part of the image.
struct ChunkPlace {
  int column, row;
  std::int64_t channel, begin, end, sample;
};

__device__ __forceinline__ ChunkPlace chunk_place(std::int64_t pixels) {
  ChunkPlace at;
  at.column = static_cast<int>(threadIdx.x % kColumns);
  at.row = static_cast<int>(threadIdx.x / kColumns);
  at.channel = static_cast<std::int64_t>(blockIdx.x) * kColumns + at.column;
  at.begin = static_cast<std::int64_t>(blockIdx.y) * kChunkPixels;
  at.end = at.begin + kChunkPixels < pixels ? at.begin + kChunkPixels : pixels;
  at.sample = blockIdx.z;
  return at;
}

/// Index of (sample, chunk, channel) in the partial results, which are pairs.
__device__ __forceinline__ std::int64_t partial_at(std::int64_t channels, std::int64_t sample,
                                                   std::int64_t chunk, std::int64_t chunks,
                                                   std::int64_t channel) {
  return 2 * ((sample * chunks + chunk) * channels + channel);
}

/// Channel c of pixel `row` (counted over all samples) in the concatenation of x0 and x1.
__device__ __forceinline__ float source_at(const GroupNormInput& in, std::int64_t row,
                                           std::int64_t c) {
  return c < in.c0 ? load(in.x0, row, c) : load(in.x1, row, c - in.c0);
}

/// What turns x into z for one sample and channel.
struct Affine {
  float mean, rstd, gamma, beta, scale1, shift;  ///< scale1 = 1 + scale
  __device__ float xhat(float x) const { return (x - mean) * rstd; }
  __device__ float z(float hat) const { return (hat * gamma + beta) * scale1 + shift; }
};

__device__ __forceinline__ Affine affine_of(const GroupNormInput& in, std::int64_t n,
                                            std::int64_t c) {
  const std::int64_t g = c / (in.channels / in.groups);
  const float* mean_rstd = in.mean_rstd + 2 * (n * in.groups + g);
  Affine a{mean_rstd[0], mean_rstd[1], load(in.gamma, 0, c), load(in.beta, 0, c), 1.0f, 0.0f};
  if (in.emb.data) {
    a.scale1 = 1.0f + load(in.emb, n, c);
    a.shift = load(in.emb, n, in.channels + c);
  }
  return a;
}

/// dL/dz of one element: dy, through the pool and SiLU.
__device__ __forceinline__ float dz_at(const GroupNormBwdParams& p, const Affine& a, std::int64_t n,
                                       std::int64_t pixel, std::int64_t c, float xhat) {
  const GroupNormInput& in = p.in;
  float d;
  if (in.pool) {
    const std::int64_t out = pixel / in.width / 2 * (in.width / 2) + pixel % in.width / 2;
    d = 0.25f * load(p.dy, n * (in.pixels / 4) + out, c);
  } else {
    d = load(p.dy, n * in.pixels + pixel, c);
  }
  if (in.silu) {
    const float z = a.z(xhat);
    const float sigmoid = 1.0f / (1.0f + expf(-z));
    d *= sigmoid * (1.0f + z * (1.0f - sigmoid));
  }
  return d;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
