#pragma once
// The tensor-core GEMM behind a group norm: qkv of an attention block, whose norm needs no launch.
//
// math      y = xn w^T + bias + residual with xn = T((x - mean) a + b), a = rstd gamma, b = beta:
//           rounded to the operands' type T as the group norm would have stored it, with the same
//           bits (kernels/group_norm/v2_vectors_fwd.cu)
// shapes    x [N,pixels,C], ready moments [N,C,2], y [N,pixels,K]
// mapping   v3_mma's. While the first stages are on their way, a block makes mean, a and b of all
//           channels of its rows' samples: a team of eight lanes a group
//           (kernels/group_norm/team.cuh). A thread turns the vectors of x that it has itself copied,
//           in place, behind its own wait and before the barrier that shows them to the others:
//           each element once a block, and no barrier more. The first block of a sample writes mean
//           and rstd
// traffic   v3_mma's, and 16 C bytes a sample for each block, from L2; x is neither written nor read
//           once more
// roofline  v3_mma's; a step also turns (kRows / 64) vectors of eight a thread, about 60
//           instructions for each
// delta     v3_mma, behind a launch that writes what is read here
// limits    v3_mma's; halves; C in whole vectors (no padded copy), up to 1024; pixels a multiple of
//           64, so that a tile has rows of at most kRows / 64 samples
#include "kernels/gemm/v3_mma.cuh"
#include "kernels/group_norm/team.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// What the channels of the samples of a tile need.
template <int kSamples>
struct NormFactors {
  Array<float, kSamples * kNormChannels> mean, a, b;
};

template <class T, int kRows, int kWidth>
struct NormedStorage {
  MmaStorage<T, kRows, kWidth> tile;
  NormFactors<kRows / kNormRows> norm;
};

/// x on its way through the norm: the Input of mma_tile().
template <class T, int kRows>
struct Normed {
  static constexpr int kSamples = kRows / kNormRows;
  static_assert(sizeof(T) == 2 && kRows % kNormRows == 0);
  NormFactors<kSamples>& s;
  int channel;         ///< the next step's vector's first
  int slot[kSamples];  ///< where the factors of the i-th kNormRows rows begin

  __device__ __forceinline__ explicit Normed(NormFactors<kSamples>& factors) : s(factors) {}

  template <class Loader>
  __device__ __forceinline__ void begin(const MmaParams& p, const Loader& loader) {
    const int rows = p.z.n * p.z.p * p.z.q;
    // What the loader has started lies kStages - 1 steps ahead.
    channel = loader.k - (kStages - 1) * Loader::kStep;
    const int first = loader.m0 / p.norm.pixels;
    int made = -1;
#pragma unroll
    for (int i = 0; i < kSamples; ++i) {
      const int row = loader.m0 + i * kNormRows;
      const int own = row < rows ? row / p.norm.pixels - first : 0;
      slot[i] = own * kNormChannels;
      if (own == made || row >= rows) continue;
      make_factors(p, first + own, slot[i],
                   blockIdx.y == 0 && blockIdx.z == 0 && row % p.norm.pixels == 0);
      made = own;
    }
    __syncthreads();
  }

  // The factors of a sample; its first block also writes what the backward wants.
  __device__ __forceinline__ void make_factors(const MmaParams& p, int sample, int at, bool write) {
    const MmaNorm& norm = p.norm;
    const int size = p.z.c / norm.groups;
    const float* moments = norm.moments + std::int64_t{sample} * p.z.c * 2;
    const auto pixels = static_cast<float>(norm.pixels);
    const auto count = static_cast<float>(std::int64_t{norm.pixels} * size);
    for (int round = 0; round * kTeams < norm.groups; ++round) {
      const int g = round * kTeams + own_team();
      const bool there = g < norm.groups;
      const GroupMoments joined = join_channels(there ? g * size : 0, size, there, pixels,
                                                [&](int c) { return moments + 2 * c; });
      if (!there) continue;
      const float rstd = 1.0f / sqrtf(joined.m2 / count + norm.eps);
      for (int c = g * size + team_lane(); c < (g + 1) * size; c += kTeam) {
        s.mean[at + c] = joined.mean;
        s.a[at + c] = norm.gamma[c] * rstd;
        s.b[at + c] = norm.beta[c];
      }
      if (!write || team_lane() > 0) continue;
      float* to = norm.mean_rstd + (std::int64_t{sample} * norm.groups + g) * 2;
      to[0] = joined.mean;
      to[1] = rstd;
    }
  }

  template <class Loader, class Stages>
  __device__ __forceinline__ void arrived(const Loader& loader, Stages& stages, int stage) {
    // Zeros beyond the last channel stay zeros.
    if (channel < loader.end) {
#pragma unroll
      for (int i = 0; i < kSamples; ++i) {
        const int at = stage * kRows * Loader::kStep +
                       swizzled<T>(loader.first + i * kNormRows, loader.vector);
        Vec<T, 8> x = load_vec<8>(stages.a, at);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int from = slot[i] + channel + half * 4;
          const Vec<float, 4> mean = load_vec<4>(s.mean, from), a = load_vec<4>(s.a, from),
                              b = load_vec<4>(s.b, from);
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            T& own = x.v[half * 4 + e];
            own = T(fmaf(static_cast<float>(own) - mean.v[e], a.v[e], b.v[e]));
          }
        }
        store_vec(stages.a, at, x);
      }
    }
    channel += Loader::kStep;
  }
};

template <class T, int kRows, int kWidth>
__global__ void __launch_bounds__(kThreads, 1)
    normed_mma_kernel(const MmaParams __grid_constant__ p) {
  auto& s = shared<NormedStorage<T, kRows, kWidth>>();
  Normed<T, kRows> input(s.norm);
  mma_tile<T, kRows, kWidth>(p, s.tile, input);
}

template <class T, int kRows, int kWidth>
void launch_normed(const char* name, const MmaParams& p, Stream stream) {
  launch(
      {name, mma_grid<kRows, kWidth>(p), kThreads, shared_bytes<NormedStorage<T, kRows, kWidth>>()},
      stream, normed_mma_kernel<T, kRows, kWidth>, p);
}

template <int kRows, int kWidth>
void mma_normed_product(const MmaParams& p, Stream stream) {
  if (p.x0.dtype == DType::f16)
    return launch_normed<f16, kRows, kWidth>("mma_normed_f16", p, stream);
  launch_normed<bf16, kRows, kWidth>("mma_normed_bf16", p, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
