// Group norm backward, v3_one_block: the gradient of the input alone.
//
// math      v1_chunks_bwd.cu's, as dx = a dz + f (x - mean) + h with a = rstd gamma (1 + scale),
//           f = -rstd^2 mean_g(a dz (x - mean)), h = -mean_g(a dz)
// shapes    as the forward
// mapping   one kernel: a block per sample and group, up to 384 threads; a thread keeps up to 32
//           elements of x and, in f32, of dz (v3_one_block.cuh), so that SiLU's exponential is taken
//           once. Threads, then warps, are added in order
// traffic   x and dy once, dx once: 3 N pixels C elements (and the addend's); between L2 and the SMs
//           as the forward
// roofline  as the forward
// delta     v2_vectors: two launches, x and dy twice
// limits    no gradient of gamma, beta and emb, whose sums go over samples or channels; else the
//           forward's, with what 384 threads keep
#include "kernels/group_norm/v3_one_block.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

template <class T, int kWidth, bool kPool>
__global__ void __launch_bounds__(kOneBlockBwdThreads, 1)
    one_block_bwd_kernel(const GroupNormBwdParams __grid_constant__ p) {
  constexpr int kKept = kOneBlockElements / kWidth;
  auto& s = shared<BlockStorage<float>>();
  const GroupNormInput& in = p.in;
  const GroupPlace at = group_place<kWidth>(in);
  const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
  const Column<T> dy{static_cast<T*>(p.dy.data) + at.n * at.units * p.dy.row_stride + at.channel,
                     p.dy.row_stride};
  Vec<T, kWidth> kept[kKept], gradient[kPool ? kKept / 4 : kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int unit = unit_of<kPool>(at, i);
    if (unit >= at.units) continue;
    kept[i] = vector_at<kWidth>(x, at.n * in.pixels + pixel_of<kPool>(in, unit, i));
    if (!kPool || i % 4 == 0) gradient[kPool ? i / 4 : i] = vector_at<kWidth>(dy, unit);
  }
  const float* mean_rstd = in.mean_rstd + 2 * (at.n * in.groups + at.group);
  const float mean = mean_rstd[0], rstd = mean_rstd[1];
  Slopes<kWidth> k{};
  k.load_from(in, at.n, at.channel);
#pragma unroll
  for (int e = 0; e < kWidth; ++e) k.a[e] *= rstd;

  float dz[kKept][kWidth], sum1 = 0.0f, sum2 = 0.0f;  // of a dz and a dz (x - mean)
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    if (unit_of<kPool>(at, i) >= at.units) continue;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      const float d = static_cast<float>(kept[i].v[e]) - mean;
      const float z = fmaf(d, k.a[e], k.b[e]);
      const float g = static_cast<float>(gradient[kPool ? i / 4 : i].v[e]);
      dz[i][e] = k.a[e] * through<kPool>(in.silu, z, g);
      sum1 += dz[i][e];
      sum2 = fmaf(dz[i][e], d, sum2);
    }
  }
  const auto count = static_cast<float>(in.pixels * at.size);
  const float h = -block_sum(s, sum1) / count, f = -rstd * rstd * block_sum(s, sum2) / count;

  const Column<T> dx = column_of<T>(p.dx0, p.dx1, in.c0, at.channel);
  const Column<T> addend = addend_of<T>(p, at.channel);
  if (!dx.data) return;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int unit = unit_of<kPool>(at, i);
    if (unit >= at.units) continue;
    const std::int64_t row = at.n * in.pixels + pixel_of<kPool>(in, unit, i);
    Vec<T, kWidth> out, more = {};
    if (addend.data) more = vector_at<kWidth>(addend, row);
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      const float d = static_cast<float>(kept[i].v[e]) - mean;
      out.v[e] = T(fmaf(f, d, dz[i][e] + h) + static_cast<float>(more.v[e]));
    }
    store_vec(dx.data + row * dx.stride, out);
  }
}

}  // namespace

void group_norm_bwd_v3(const GroupNormBwdParams& p, Stream stream) {
  for_vectors(p.in.x0.dtype, p.vector, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    launch(
        {"group_norm_dx_one_block", one_block_grid(p.in), p.threads,
         shared_bytes<BlockStorage<float>>()},
        stream,
        p.in.pool ? one_block_bwd_kernel<T, kWidth, true> : one_block_bwd_kernel<T, kWidth, false>,
        p);
  });
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
