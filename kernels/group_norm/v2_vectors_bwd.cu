// Group norm backward, v2_vectors.
//
// math      v1_chunks_bwd.cu's, as dx = a dz + f (x - mean) + h with a = rstd gamma (1 + scale),
//           f = -rstd^2 mean_g(k dz xhat), h = -rstd mean_g(k dz) made once for a sample and channel
// shapes    as the forward
// mapping   sums: a thread owns a 16-byte vector of channels and every rows-th pixel of a chunk;
//           rows are added in order. join, parameters: v1_chunks's. dx: the same shape, five numbers
//           of each channel in registers over up to 16 pixels, two pixels' loads in flight
// traffic   x and dy twice, dx once: 5 N pixels C elements
// roofline  memory; SiLU's exponential is taken twice an element, by the hardware's 2^x
// delta     v1_chunks: 2-byte loads, and ten parameters an element in dx
// limits    no f64; each source's channels in whole vectors, all tensors aligned to 16 bytes
#include "kernels/group_norm/v2_vectors.cuh"

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

// dL/dz of one element from its dy.
template <bool kPool>
__device__ __forceinline__ float through(bool silu, float z, float dy) {
  if (kPool) dy *= 0.25f;
  if (!silu) return dy;
  const float sigmoid = rcp_approx(1.0f + exp_approx(-z));
  return dy * (sigmoid * fmaf(z, 1.0f - sigmoid, 1.0f));
}

template <class T, bool kPool>
__global__ void __launch_bounds__(kThreads, 2)
    vector_sums_kernel(const GroupNormBwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  auto& s = shared<VectorSums<T>>();
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * in.chunk_pixels,
                     n = blockIdx.z;
  const std::int64_t end =
      begin + in.chunk_pixels < in.pixels ? begin + in.chunk_pixels : in.pixels;
  if (at.mine) {
    const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
    const Column<T> dy{static_cast<T*>(p.dy.data) + at.channel, p.dy.row_stride};
    Coefficients<kCount> k;
    fill(k, in, n, at.channel);
    float s1[kCount] = {}, s2[kCount] = {};
    for (std::int64_t i = begin + at.row; i < end; i += at.rows * kPairs) {
      Vec<T, kCount> v[kPairs] = {}, g[kPairs] = {};
#pragma unroll
      for (int b = 0; b < kPairs; ++b)
        if (i + b * at.rows < end) {
          v[b] = vector_at(x, n * in.pixels + i + b * at.rows);
          g[b] = vector_at(dy, source_pixel<kPool>(in, n, i + b * at.rows));
        }
#pragma unroll
      for (int b = 0; b < kPairs; ++b) {
        if (i + b * at.rows >= end) continue;
#pragma unroll
        for (int e = 0; e < kCount; ++e) {
          const float d = static_cast<float>(v[b].v[e]) - k.mean[e];
          const float dz =
              through<kPool>(in.silu, fmaf(d, k.a[e], k.b[e]), static_cast<float>(g[b].v[e]));
          s1[e] += dz;
          s2[e] = fmaf(dz, d, s2[e]);
        }
      }
    }
    const int to = (at.row * at.columns + at.column) * kCount;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      s.first[to + e] = s1[e];
      s.second[to + e] = s2[e];
    }
  }
  __syncthreads();
  // A thread per channel of the block. The sums of dz (x - mean) become those of dz xhat.
  const int width = at.columns * kCount;
  for (int i = static_cast<int>(threadIdx.x); i < width; i += kThreads) {
    const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * width + i;
    if (c >= in.channels) continue;
    float s1 = 0.0f, s2 = 0.0f;
    for (int row = 0; row < at.rows; ++row) {
      s1 += s.first[row * width + i];
      s2 += s.second[row * width + i];
    }
    const std::int64_t g = c / (in.channels / in.groups);
    float* to = p.partial + partial_at(in.channels, n, blockIdx.y, gridDim.y, c);
    to[0] = s1;
    to[1] = s2 * in.mean_rstd[2 * (n * in.groups + g) + 1];
  }
}

template <class T, bool kPool>
__global__ void __launch_bounds__(kThreads, 2)
    vector_dx_kernel(const GroupNormBwdParams __grid_constant__ p) {
  constexpr int kCount = kVector<T>;
  const GroupNormInput& in = p.in;
  const VectorPlace at = vector_place<T>(in.channels);
  if (!at.mine) return;
  const Column<T> dx = column_of<T>(p.dx0, p.dx1, in.c0, at.channel);
  if (!dx.data) return;
  const std::int64_t n = blockIdx.z;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * p.block_pixels;
  const std::int64_t end = begin + p.block_pixels < in.pixels ? begin + p.block_pixels : in.pixels;
  const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
  const Column<T> dy{static_cast<T*>(p.dy.data) + at.channel, p.dy.row_stride};
  Coefficients<kCount> k;
  fill(k, in, n, at.channel);
  float f[kCount], h[kCount];
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const std::int64_t group = n * in.groups + (at.channel + e) / (in.channels / in.groups);
    const float rstd = in.mean_rstd[2 * group + 1];
    f[e] = -rstd * rstd * p.means[2 * group + 1];
    h[e] = -rstd * p.means[2 * group];
  }
  for (std::int64_t i = begin + at.row; i < end; i += at.rows * kPairs) {
    Vec<T, kCount> v[kPairs] = {}, g[kPairs] = {};
#pragma unroll
    for (int b = 0; b < kPairs; ++b)
      if (i + b * at.rows < end) {
        v[b] = vector_at(x, n * in.pixels + i + b * at.rows);
        g[b] = vector_at(dy, source_pixel<kPool>(in, n, i + b * at.rows));
      }
#pragma unroll
    for (int b = 0; b < kPairs; ++b) {
      if (i + b * at.rows >= end) continue;
      Vec<T, kCount> out;
#pragma unroll
      for (int e = 0; e < kCount; ++e) {
        const float d = static_cast<float>(v[b].v[e]) - k.mean[e];
        const float dz =
            through<kPool>(in.silu, fmaf(d, k.a[e], k.b[e]), static_cast<float>(g[b].v[e]));
        out.v[e] = T(fmaf(k.a[e], dz, fmaf(f[e], d, h[e])));
      }
      store_vec(dx.data + (n * in.pixels + i + b * at.rows) * dx.stride, out);
    }
  }
}

template <class T>
void run(const GroupNormBwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  const unsigned across = vector_blocks(in.channels, kVector<T>);
  const auto samples = static_cast<unsigned>(in.samples);
  launch(
      {"group_norm_sums_vec", dim3(across, static_cast<unsigned>(group_norm_chunks(in)), samples),
       kThreads, shared_bytes<VectorSums<T>>()},
      stream, in.pool ? vector_sums_kernel<T, true> : vector_sums_kernel<T, false>, p);
  group_norm_bwd_join(p, stream);
  if (!p.dx0.data && !p.dx1.data) return;
  GroupNormBwdParams apply = p;
  apply.block_pixels = apply_pixels(in.channels, kVector<T>, in.pixels, in.samples);
  launch({"group_norm_dx_vec", dim3(across, apply_blocks(in.pixels, apply.block_pixels), samples),
          kThreads},
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
