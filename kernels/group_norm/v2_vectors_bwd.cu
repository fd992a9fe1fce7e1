// Group norm backward, v2_vectors.
//
// math      v1_chunks_bwd.cu's, as dx = a dz + f (x - mean) + h with a = rstd gamma (1 + scale),
//           f = -rstd^2 mean_g(k dz xhat), h = -rstd mean_g(k dz) made once for a sample and channel
// shapes    as the forward
// mapping   two kernels for the input's gradient. sums: a thread owns a 16-byte vector of channels
//           and every rows-th pixel of a chunk; rows, then the channels of each group (teams.cuh),
//           are added in order. dx: the same shape; while its first pixels are on their way, a block
//           adds the pieces of all chunks for the groups of its channels; five numbers of each
//           channel stay in registers over up to 16 pixels, two pixels' loads are in flight.
//           v1_chunks's join and parameters follow where gamma's, beta's or emb's gradients are
//           wanted: only these need sums of single channels
// traffic   x and dy twice, dx once: 5 N pixels C elements (and the addend's once). Each block of dx
//           reads 2 G numbers of each piece from L2
// roofline  memory; SiLU's exponential is taken twice an element, by the hardware's 2^x
// delta     v1_chunks: 2-byte loads, ten parameters an element in dx; a launch to join the groups
// limits    no f64; each source's channels in whole vectors, all tensors aligned to 16 bytes; 256
//           groups
#include "kernels/group_norm/teams.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

inline constexpr int kPairs = 2;  ///< pixels whose x and dy are in flight

// The pixel of dy that pixel i of the image got its gradient from.
template <bool kPool>
__device__ __forceinline__ std::int64_t source_pixel(const GroupNormInput& in, std::int64_t n,
                                                     std::int64_t i) {
  if (!kPool) return n * in.pixels + i;
  const int width = static_cast<int>(in.width);
  const std::int64_t line = i / width, column = i - line * width;
  return n * (in.pixels / 4) + line / 2 * (width / 2) + column / 2;
}

// What a thread of both kernels walks over: its vectors of x and dy, in [begin, end) pixels of a
// sample.
template <class T, bool kPool>
struct Walk {
  static constexpr int kCount = kVector<T>;
  Column<T> x, dy;
  float mean[kCount];
  Slopes<kCount> k;  // of x - mean
  Vec<T, kCount> v[kPairs], g[kPairs];

  __device__ __forceinline__ Walk(const GroupNormBwdParams& p, std::int64_t n, std::int64_t channel)
      : x(column_of<T>(p.in.x0, p.in.x1, p.in.c0, channel)),
        dy{static_cast<T*>(p.dy.data) + channel, p.dy.row_stride} {
    k.load_from(p.in, n, channel);
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const float* mean_rstd = mean_rstd_of(p.in, n, channel + e);
      mean[e] = mean_rstd[0];
      k.a[e] *= mean_rstd[1];
    }
  }
  __device__ __forceinline__ void fetch(const GroupNormInput& in, std::int64_t n, std::int64_t i,
                                        int rows, std::int64_t end) {
#pragma unroll
    for (int b = 0; b < kPairs; ++b)
      if (i + b * rows < end) {
        v[b] = vector_at<kCount>(x, n * in.pixels + i + b * rows);
        g[b] = vector_at<kCount>(dy, source_pixel<kPool>(in, n, i + b * rows));
      }
  }
  __device__ __forceinline__ float deviation(int b, int e) const {
    return static_cast<float>(v[b].v[e]) - mean[e];
  }
  __device__ __forceinline__ float dz(bool silu, int b, int e) const {
    return through<kPool>(silu, fmaf(deviation(b, e), k.a[e], k.b[e]),
                          static_cast<float>(g[b].v[e]));
  }
};

template <class T, bool kPool>
__global__ void __launch_bounds__(kThreads, 2)
    vector_sums_kernel(const GroupNormBwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  auto& s = shared<VectorSums<T>>();
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  const int width = at.columns * kCount;
  const BlockChannels own = block_channels(in, width);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * in.chunk_pixels,
                     n = blockIdx.z;
  const std::int64_t end =
      begin + in.chunk_pixels < in.pixels ? begin + in.chunk_pixels : in.pixels;
  if (at.mine) {
    Walk<T, kPool> walk(p, n, at.channel);
    float s1[kCount] = {}, s2[kCount] = {};
    for (std::int64_t i = begin + at.row; i < end; i += at.rows * kPairs) {
      walk.fetch(in, n, i, at.rows, end);
#pragma unroll
      for (int b = 0; b < kPairs; ++b) {
        if (i + b * at.rows >= end) continue;
#pragma unroll
        for (int e = 0; e < kCount; ++e) {
          const float dz = walk.dz(in.silu, b, e);
          s1[e] += dz;
          s2[e] = fmaf(dz, walk.deviation(b, e), s2[e]);
        }
      }
    }
    const int to = at.row * width + at.column * kCount;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      s.first[to + e] = s1[e];
      s.second[to + e] = s2[e];
    }
  }
  __syncthreads();
  // A thread per channel of the block; what it makes of all rows takes the first row's place.
  for (int i = static_cast<int>(threadIdx.x); i < own.end - own.begin; i += kThreads) {
    float s1 = 0.0f, s2 = 0.0f;
    for (int row = 0; row < at.rows; ++row) {
      s1 += s.first[row * width + i];
      s2 += s.second[row * width + i];
    }
    const std::int64_t c = own.begin + i;
    const float rstd = mean_rstd_of(in, n, c)[1];
    if (p.partial) {  // of dz and dz xhat
      float* to = p.partial + partial_at(in.channels, n, blockIdx.y, gridDim.y, c);
      to[0] = s1;
      to[1] = s2 * rstd;
    }
    const float a = rstd * load(in.gamma, 0, c) * (in.emb.data ? 1.0f + load(in.emb, n, c) : 1.0f);
    s.first[i] = a * s1;
    s.second[i] = a * s2;
  }
  __syncthreads();
  for (int round = 0; round < team_rounds(own); ++round) {
    const TeamGroup t = team_group(own, round);
    float s1 = 0.0f, s2 = 0.0f;
    for (int c = t.begin + team_lane(); c < t.end; c += kTeam) {
      s1 += s.first[c - own.begin];
      s2 += s.second[c - own.begin];
    }
    s1 = team_sum(s1);
    s2 = team_sum(s2);
    if (!t.there || team_lane() > 0) continue;
    float* to = p.pieces + 2 * own_piece(in, n, t.g);
    to[0] = s1;
    to[1] = s2;
  }
}

// f (first) and h (second) of the groups of a block's channels. Ends with a barrier.
__device__ __forceinline__ void join_groups(GroupPairs& s, const GroupNormBwdParams& p,
                                            const BlockChannels& own, std::int64_t n) {
  const auto count = static_cast<float>(p.in.pixels * own.size);
  for (int round = 0; round < team_rounds(own); ++round) {
    const TeamGroup t = team_group(own, round);
    float s1 = 0.0f, s2 = 0.0f;
    for_each_piece(p.in, own, t, n, t.there, [&](std::int64_t piece) {
      s1 += p.pieces[2 * piece];
      s2 += p.pieces[2 * piece + 1];
    });
    s1 = team_sum(s1);
    s2 = team_sum(s2);
    if (!t.there || team_lane() > 0) continue;
    const float rstd = p.in.mean_rstd[2 * (n * p.in.groups + t.g) + 1];
    s.first[t.index] = -rstd * rstd * s2 / count;
    s.second[t.index] = -s1 / count;
  }
  __syncthreads();
}

template <class T, bool kPool>
__global__ void __launch_bounds__(kThreads, 2)
    vector_dx_kernel(const GroupNormBwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  auto& s = shared<GroupPairs>();
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  const BlockChannels own = block_channels(in, at.columns * kCount);
  const std::int64_t n = blockIdx.z;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * p.block_pixels;
  const std::int64_t end = begin + p.block_pixels < in.pixels ? begin + p.block_pixels : in.pixels;
  const Column<T> dx = column_of<T>(p.dx0, p.dx1, in.c0, at.channel);
  const Column<T> addend = addend_of<T>(p, at.channel);
  Walk<T, kPool> walk(p, n, at.mine ? at.channel : 0);
  if (at.mine) walk.fetch(in, n, begin + at.row, at.rows, end);
  join_groups(s, p, own, n);
  if (!at.mine || !dx.data) return;
  float f[kCount], h[kCount];
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const int group = (static_cast<int>(at.channel) + e) / own.size - own.first_group;
    f[e] = s.first[group];
    h[e] = s.second[group];
  }
  const std::int64_t step = at.rows * kPairs;
  for (std::int64_t i = begin + at.row; i < end; i += step) {
    if (i >= begin + step) walk.fetch(in, n, i, at.rows, end);  // the first are here
#pragma unroll
    for (int b = 0; b < kPairs; ++b) {
      if (i + b * at.rows >= end) continue;
      const std::int64_t row = n * in.pixels + i + b * at.rows;
      Vec<T, kCount> out, more = {};
      if (addend.data) more = vector_at<kCount>(addend, row);
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        const float rest = fmaf(f[e], walk.deviation(b, e), h[e]);
        out.v[e] =
            T(fmaf(walk.k.a[e], walk.dz(in.silu, b, e), rest) + static_cast<float>(more.v[e]));
      }
      store_vec(dx.data + row * dx.stride, out);
    }
  }
}

template <class T>
void run(const GroupNormBwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  const unsigned across = group_norm_vector_blocks(in.channels, kVector<T>);
  const auto samples = static_cast<unsigned>(in.samples);
  launch(
      {"group_norm_sums_vec", dim3(across, static_cast<unsigned>(group_norm_chunks(in)), samples),
       kThreads, shared_bytes<VectorSums<T>>()},
      stream, in.pool ? vector_sums_kernel<T, true> : vector_sums_kernel<T, false>, p);
  if (p.partial) group_norm_bwd_join(p, stream);
  if (!p.dx0.data && !p.dx1.data) return;
  GroupNormBwdParams apply = p;
  apply.block_pixels = apply_pixels(in.channels, kVector<T>, in.pixels, in.samples);
  launch({"group_norm_dx_vec", dim3(across, apply_blocks(in.pixels, apply.block_pixels), samples),
          kThreads, shared_bytes<GroupPairs>()},
         stream, in.pool ? vector_dx_kernel<T, true> : vector_dx_kernel<T, false>, apply);
}

}  // namespace

void group_norm_bwd_v2(const GroupNormBwdParams& p, Stream stream) {
  switch (p.in.x0.dtype) {
    case DType::f16:
      return run<f16>(p, stream);
    case DType::bf16:
      return run<bf16>(p, stream);
    default:
      return run<float>(p, stream);
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
