// Group norm forward, v2_vectors.
//
// math      kernels/group_norm/group_norm.h, as y = silu((x - mean) a + b) with a = rstd gamma
//           (1 + scale), b = beta (1 + scale) + shift made once for a sample and channel
// shapes    x [N,pixels,C] in one or two sources, y likewise or a quarter of the pixels with pool
// mapping   three kernels. moments: a thread owns a 16-byte vector of channels and every rows-th
//           pixel of a chunk, a block all channels of the chunk's pixels (up to 256 vectors of
//           them); the rows merge by Chan's formula. join: v1_chunks's. apply: the same shape; a and
//           b stay in registers over up to 16 pixels, four loads are in flight
// traffic   x twice, y once: 3 N pixels C elements; once less with ready statistics
// roofline  memory. Halves leave about 27 instructions an element at 4.3 TB/s on 132 SMs, so SiLU
//           is made of the hardware's 2^x and 1/x
// delta     v1_chunks: 2-byte loads and six parameters an element in apply; chunks of 256 pixels
//           whatever the image
// limits    no f64; each source's channels in whole vectors, all tensors aligned to 16 bytes; C up
//           to 2^31
#include "kernels/group_norm/moments.cuh"
#include "kernels/group_norm/v2_vectors.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    vector_moments_kernel(const GroupNormFwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  auto& s = shared<VectorSums<T>>();
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * in.chunk_pixels;
  const std::int64_t left = in.pixels - begin, n = blockIdx.z;
  const std::int64_t count = left < in.chunk_pixels ? left : in.chunk_pixels;
  const bool ready = at.channel < in.c0 ? p.stats0.data != nullptr : p.stats1.data != nullptr;
  if (at.mine && !ready) {
    const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
    const std::int64_t row = n * in.pixels + begin;
    float shift[kCount] = {}, sum[kCount] = {}, squares[kCount] = {};
    if (at.row < count) {
      const Vec<T, kCount> first = vector_at(x, row + at.row);
#pragma unroll
      for (int e = 0; e < kCount; ++e) shift[e] = static_cast<float>(first.v[e]);
    }
    for (std::int64_t i = at.row; i < count; i += at.rows * kBatch) {
      Vec<T, kCount> v[kBatch] = {};
#pragma unroll
      for (int b = 0; b < kBatch; ++b)
        if (i + b * at.rows < count) v[b] = vector_at(x, row + i + b * at.rows);
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
    const int to = (at.row * at.columns + at.column) * kCount;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const float mean = seen > 0.0f ? sum[e] / seen : 0.0f;
      s.first[to + e] = shift[e] + mean;
      s.second[to + e] = squares[e] - sum[e] * mean;
    }
  }
  __syncthreads();
  // A thread per channel of the block.
  const int width = at.columns * kCount;
  for (int i = static_cast<int>(threadIdx.x); i < width; i += kThreads) {
    const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * width + i;
    const bool done = c < in.c0 ? p.stats0.data != nullptr : p.stats1.data != nullptr;
    if (c >= in.channels || done) continue;
    Moments all{0.0f, 0.0f, 0.0f};
    for (int row = 0; row < at.rows; ++row)
      all = merge(all, {seen_pixels(count, row, at.rows), s.first[row * width + i],
                        s.second[row * width + i]});
    float* to = p.partial + partial_at(in.channels, n, blockIdx.y, gridDim.y, c);
    to[0] = all.mean;
    to[1] = all.m2;
  }
}

template <int kCount>
__device__ __forceinline__ float activated(const Coefficients<kCount>& k, bool silu, int e,
                                           float x) {
  const float z = fmaf(x - k.mean[e], k.a[e], k.b[e]);
  return silu ? z * rcp_approx(1.0f + exp_approx(-z)) : z;
}

template <class T, bool kPool>
__global__ void __launch_bounds__(kThreads, 2)
    vector_apply_kernel(const GroupNormFwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  if (!at.mine) return;
  const std::int64_t n = blockIdx.z, pixels = kPool ? in.pixels / 4 : in.pixels;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * p.block_pixels;
  const std::int64_t end = begin + p.block_pixels < pixels ? begin + p.block_pixels : pixels;
  const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
  T* const y = static_cast<T*>(p.y.data) + at.channel;
  Coefficients<kCount> k;
  fill(k, in, n, at.channel);
  const int half = static_cast<int>(in.width / 2);
  for (std::int64_t i = begin + at.row; i < end; i += kPool ? at.rows : at.rows * kBatch) {
    Vec<T, kCount> v[kBatch] = {};  // four pixels, or the four that one output pools
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      if (kPool) {
        const std::int64_t line = i / half, corner = line * 2 * in.width + (i - line * half) * 2;
        v[b] = vector_at(x, n * in.pixels + corner + b / 2 * in.width + b % 2);
      } else if (i + b * at.rows < end) {
        v[b] = vector_at(x, n * in.pixels + i + b * at.rows);
      }
    }
    if constexpr (kPool) {
      Vec<T, kCount> out;
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        float sum = 0.0f;
#pragma unroll
        for (int b = 0; b < kBatch; ++b)
          sum += activated(k, in.silu, e, static_cast<float>(v[b].v[e]));
        out.v[e] = T(0.25f * sum);
      }
      store_vec(y + (n * pixels + i) * p.y.row_stride, out);
    } else {
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (i + b * at.rows >= end) continue;
        Vec<T, kCount> out;
#pragma unroll
        for (int e = 0; e < kCount; ++e)
          out.v[e] = T(activated(k, in.silu, e, static_cast<float>(v[b].v[e])));
        store_vec(y + (n * pixels + i + b * at.rows) * p.y.row_stride, out);
      }
    }
  }
}

template <class T>
void run(const GroupNormFwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  const unsigned across = vector_blocks(in.channels, kVector<T>);
  const auto samples = static_cast<unsigned>(in.samples);
  if (!p.stats0.data || (in.x1.data && !p.stats1.data))
    launch({"group_norm_moments_vec",
            dim3(across, static_cast<unsigned>(group_norm_chunks(in)), samples), kThreads,
            shared_bytes<VectorSums<T>>()},
           stream, vector_moments_kernel<T>, p);
  group_norm_join(p, stream);
  GroupNormFwdParams apply = p;
  const std::int64_t pixels = in.pool ? in.pixels / 4 : in.pixels;
  apply.block_pixels = apply_pixels(in.channels, kVector<T>, pixels, in.samples);
  launch({"group_norm_apply_vec", dim3(across, apply_blocks(pixels, apply.block_pixels), samples),
          kThreads},
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
