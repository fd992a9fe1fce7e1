// Group norm forward, v2_vectors.
//
// math      kernels/group_norm/group_norm.h, as y = silu((x - mean) a + b) with a = rstd gamma
//           (1 + scale), b = beta (1 + scale) + shift made once for a sample and channel
// shapes    x [N,pixels,C] in one or two sources, y likewise or a quarter of the pixels with pool
// mapping   one kernel where statistics are ready, else two. moments, of groups that are not: a
//           thread owns a 16-byte vector of channels and every rows-th pixel of a chunk, a block all
//           channels of the chunk's pixels (up to 256 vectors of them); rows, then the channels of
//           each group, merge by Chan's formula. apply: the same shape; while its first pixels are
//           on their way, a block joins the groups of its channels (teams.cuh) from the channels'
//           ready statistics or from the pieces of all chunks; a and b stay in registers over up to
//           16 pixels, four loads are in flight. The first block of a sample writes mean and rstd
// traffic   x twice, y once: 3 N pixels C elements; once less with ready statistics. Each block of
//           apply reads C pairs of ready statistics, or 3 G numbers of each piece, from L2
// roofline  memory. Halves leave about 27 instructions an element at 4.3 TB/s on 132 SMs, so SiLU
//           is made of the hardware's 2^x and 1/x
// delta     v1_chunks: 2-byte loads and six parameters an element in apply; chunks of 256 pixels
//           whatever the image; a launch of its own to join the groups
// limits    no f64; each source's channels in whole vectors, all tensors aligned to 16 bytes; C up
//           to 2^31, 256 groups
#include "kernels/group_norm/teams.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// Whether all channels of a group come with statistics.
__device__ __forceinline__ bool is_ready(const GroupNormFwdParams& p, int g, int size) {
  const bool in_x0 = g * size < p.in.c0;
  const bool in_x1 = (g + 1) * size > p.in.c0;
  return (!in_x0 || p.stats0.data) && (!in_x1 || p.stats1.data);
}

// The ready moments of a channel: mean, and sum of squared deviations.
__device__ __forceinline__ const float* ready_moments(const GroupNormFwdParams& p, std::int64_t n,
                                                      int c) {
  const GroupNormInput& in = p.in;
  const View& from = c < in.c0 ? p.stats0 : p.stats1;
  const std::int64_t row = c < in.c0 ? n * in.c0 + c : n * (in.channels - in.c0) + c - in.c0;
  return static_cast<const float*>(from.data) + row * from.row_stride;
}

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    vector_moments_kernel(const GroupNormFwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  auto& s = shared<VectorSums<T>>();
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  const int width = at.columns * kCount;
  const BlockChannels own = block_channels(in, width);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * in.chunk_pixels;
  const std::int64_t left = in.pixels - begin, n = blockIdx.z;
  const std::int64_t count = left < in.chunk_pixels ? left : in.chunk_pixels;
  // If the groups of the first and the last channel are ready, so are those between.
  const int channel = static_cast<int>(at.channel);
  const bool ready = is_ready(p, channel / own.size, own.size) &&
                     is_ready(p, (channel + kCount - 1) / own.size, own.size);
  if (at.mine && !ready) {
    const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
    const std::int64_t row = n * in.pixels + begin;
    float shift[kCount] = {}, sum[kCount] = {}, squares[kCount] = {};
    if (at.row < count) {
      const Vec<T, kCount> first = vector_at<kCount>(x, row + at.row);
#pragma unroll
      for (int e = 0; e < kCount; ++e) shift[e] = static_cast<float>(first.v[e]);
    }
    for (std::int64_t i = at.row; i < count; i += at.rows * kBatch) {
      Vec<T, kCount> v[kBatch] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b)
        if (i + b * at.rows < count) v[b] = vector_at<kCount>(x, row + i + b * at.rows);
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (i + b * at.rows >= count) continue;
#pragma unroll
        for (int e = 0; e < kCount; ++e) {
          const float d = static_cast<float>(v[b].v[e]) - shift[e];
          sum[e] += d;
          squares[e] = fmaf(d, d, squares[e]);
        }
      }
    }
    const float seen = seen_pixels(count, at.row, at.rows);
    const int to = at.row * width + at.column * kCount;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const float mean = seen > 0.0f ? sum[e] / seen : 0.0f;
      s.first[to + e] = shift[e] + mean;
      s.second[to + e] = squares[e] - sum[e] * mean;
    }
  }
  __syncthreads();
  // A thread per channel of the block; what it makes of all rows takes the first row's place.
  for (int i = static_cast<int>(threadIdx.x); i < own.end - own.begin; i += kThreads) {
    if (is_ready(p, (own.begin + i) / own.size, own.size)) continue;
    Moments all{0.0f, 0.0f, 0.0f};
    for (int row = 0; row < at.rows; ++row)
      all = merge(all, {seen_pixels(count, row, at.rows), s.first[row * width + i],
                        s.second[row * width + i]});
    s.first[i] = all.mean;
    s.second[i] = all.m2;
  }
  __syncthreads();
  // A team per group. Channels have equal counts, so the mean is the mean of theirs.
  for (int round = 0; round < team_rounds(own); ++round) {
    const TeamGroup t = team_group(own, round);
    const bool wanted = t.there && !is_ready(p, t.g, own.size);
    const int end = wanted ? t.end : t.begin;
    float sum = 0.0f, m2 = 0.0f;
    for (int c = t.begin + team_lane(); c < end; c += kTeam) sum += s.first[c - own.begin];
    const auto channels = static_cast<float>(t.end - t.begin), pixels = static_cast<float>(count);
    const float mean = team_sum(sum) / channels;
    for (int c = t.begin + team_lane(); c < end; c += kTeam) {
      const float d = s.first[c - own.begin] - mean;
      m2 += s.second[c - own.begin] + pixels * (d * d);
    }
    m2 = team_sum(m2);
    if (!wanted || team_lane() > 0) continue;
    float* to = p.partial + 3 * own_piece(in, n, t.g);
    to[0] = channels * pixels;
    to[1] = mean;
    to[2] = m2;
  }
}

// Mean (first) and rstd (second) of the groups of a block's channels. Ends with a barrier.
__device__ __forceinline__ void join_groups(GroupPairs& s, const GroupNormFwdParams& p,
                                            const BlockChannels& own, std::int64_t n) {
  const GroupNormInput& in = p.in;
  const auto count = static_cast<float>(in.pixels * own.size);
  for (int round = 0; round < team_rounds(own); ++round) {
    const TeamGroup t = team_group(own, round);
    const bool ready = t.there && is_ready(p, t.g, own.size);
    // All channels of the group, also those of the neighbouring block.
    GroupMoments joined =
        join_channels(t.g * own.size, own.size, ready, static_cast<float>(in.pixels),
                      [&](int c) { return ready_moments(p, n, c); });
    if (p.pieces) {
      Moments all{0.0f, 0.0f, 0.0f};
      for_each_piece(in, own, t, n, t.there && !ready, [&](std::int64_t piece) {
        const float* from = p.partial + 3 * piece;
        all = merge(all, {from[0], from[1], from[2]});
      });
      all = team_merge(all);
      if (!ready) joined = {all.mean, all.m2};
    }
    if (!t.there || team_lane() > 0) continue;
    const float rstd = 1.0f / sqrtf(joined.m2 / count + p.eps);
    s.first[t.index] = joined.mean;
    s.second[t.index] = rstd;
    if (blockIdx.y > 0 || t.g * own.size < own.begin) continue;  // another block writes it
    float* to = in.mean_rstd + 2 * (n * in.groups + t.g);
    to[0] = joined.mean;
    to[1] = rstd;
  }
  __syncthreads();
}

template <class T, bool kPool>
__global__ void __launch_bounds__(kThreads, 2)
    vector_apply_kernel(const GroupNormFwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  auto& s = shared<GroupPairs>();
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  const BlockChannels own = block_channels(in, at.columns * kCount);
  const std::int64_t n = blockIdx.z, pixels = kPool ? in.pixels / 4 : in.pixels;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * p.block_pixels;
  const std::int64_t end = begin + p.block_pixels < pixels ? begin + p.block_pixels : pixels;
  const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
  T* const y = static_cast<T*>(p.y.data) + at.channel;
  Vec<T, kCount> v[kBatch] = {};  // four pixels, or the four that one output pools
  const auto fetch = [&](std::int64_t i) {
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      if (kPool && i < end)
        v[b] = vector_at<kCount>(x, n * in.pixels + pooled_pixel(in, i, b));
      else if (!kPool && i + b * at.rows < end)
        v[b] = vector_at<kCount>(x, n * in.pixels + i + b * at.rows);
    }
  };
  Slopes<kCount> k{};
  if (at.mine) {
    fetch(begin + at.row);
    k.load_from(in, n, at.channel);
  }
  join_groups(s, p, own, n);
  if (!at.mine) return;
  float mean[kCount];
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const int group = (static_cast<int>(at.channel) + e) / own.size - own.first_group;
    mean[e] = s.first[group];
    k.a[e] *= s.second[group];
  }
  const auto result = [&](int b, int e) {
    return activated(in.silu, fmaf(static_cast<float>(v[b].v[e]) - mean[e], k.a[e], k.b[e]));
  };
  const std::int64_t step = kPool ? at.rows : at.rows * kBatch;
  for (std::int64_t i = begin + at.row; i < end; i += step) {
    if (i >= begin + step) fetch(i);  // the first are here
    if constexpr (kPool) {
      Vec<T, kCount> out;
#pragma unroll
      for (int e = 0; e < kCount; ++e)
        out.v[e] = T(0.25f * (result(0, e) + result(1, e) + result(2, e) + result(3, e)));
      store_vec(y + (n * pixels + i) * p.y.row_stride, out);
    } else {
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (i + b * at.rows >= end) continue;
        Vec<T, kCount> out;
#pragma unroll
        for (int e = 0; e < kCount; ++e) out.v[e] = T(result(b, e));
        store_vec(y + (n * pixels + i + b * at.rows) * p.y.row_stride, out);
      }
    }
  }
}

template <class T>
void run(const GroupNormFwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  const unsigned across = group_norm_vector_blocks(in.channels, kVector<T>);
  const auto samples = static_cast<unsigned>(in.samples);
  if (p.pieces)
    launch({"group_norm_moments_vec",
            dim3(across, static_cast<unsigned>(group_norm_chunks(in)), samples), kThreads,
            shared_bytes<VectorSums<T>>()},
           stream, vector_moments_kernel<T>, p);
  GroupNormFwdParams apply = p;
  const std::int64_t pixels = in.pool ? in.pixels / 4 : in.pixels;
  apply.block_pixels = apply_pixels(in.channels, kVector<T>, pixels, in.samples);
  launch({"group_norm_apply_vec", dim3(across, apply_blocks(pixels, apply.block_pixels), samples),
          kThreads, shared_bytes<GroupPairs>()},
         stream, in.pool ? vector_apply_kernel<T, true> : vector_apply_kernel<T, false>, apply);
}

}  // namespace

void group_norm_fwd_v2(const GroupNormFwdParams& p, Stream stream) {
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
