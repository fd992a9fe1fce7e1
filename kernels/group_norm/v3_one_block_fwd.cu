// Group norm forward, v3_one_block.
//
// math      kernels/group_norm/group_norm.h in two passes over kept elements: the mean, as that of
//           deviations from the group's first element, then the sum of squared deviations from it
// shapes    x [N,pixels,C] in one or two sources, y likewise or a quarter of the pixels with pool
// mapping   one kernel: a block per sample and group, up to 512 threads; a thread keeps up to 32
//           elements of one vector of channels (v3_one_block.cuh). Threads, then warps, are added in
//           order
// traffic   x once, y once: 2 N pixels C elements. A group's channels of a pixel are 12 bytes and
//           more, so up to three times as much passes between L2 and the SMs, whose blocks share
//           sectors
// roofline  a small batch: SiLU's two special functions an element on G N of the SMs; a large one:
//           memory
// delta     v2_vectors: two launches and x twice where a map is so small that starting a kernel
//           costs more than its work
// limits    no f64; statistics that are not ready; maps of up to 1024 pixels; a group's size, its
//           sources and all tensors in whole vectors of 2, 4 or (halves) 8 channels; what 512 threads
//           keep
#include "kernels/group_norm/v3_one_block.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

template <class T, int kWidth, bool kPool>
__global__ void __launch_bounds__(kOneBlockFwdThreads, 1)
    one_block_fwd_kernel(const GroupNormFwdParams __grid_constant__ p) {
  constexpr int kKept = kOneBlockElements / kWidth;
  auto& s = shared<BlockStorage<float>>();
  const GroupNormInput& in = p.in;
  const GroupPlace at = group_place<kWidth>(in);
  const Column<T> x = column_of<T>(in.x0, in.x1, in.c0, at.channel);
  Vec<T, kWidth> kept[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int unit = unit_of<kPool>(at, i);
    if (unit < at.units)
      kept[i] = vector_at<kWidth>(x, at.n * in.pixels + pixel_of<kPool>(in, unit, i));
  }
  Slopes<kWidth> k{};
  k.load_from(in, at.n, at.channel);
  const float shift = source_at(in, at.n * in.pixels, at.group * at.size);

  // f(x) for each vector that there is.
  const auto for_each_kept = [&](const auto& f) {
#pragma unroll
    for (int i = 0; i < kKept; ++i)
      if (unit_of<kPool>(at, i) < at.units) f(kept[i]);
  };
  float sum = 0.0f, m2 = 0.0f;
  for_each_kept([&](const Vec<T, kWidth>& v) {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) sum += static_cast<float>(v.v[e]) - shift;
  });
  const auto count = static_cast<float>(in.pixels * at.size);
  const float mean = shift + block_sum(s, sum) / count;
  for_each_kept([&](const Vec<T, kWidth>& v) {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      const float d = static_cast<float>(v.v[e]) - mean;
      m2 = fmaf(d, d, m2);
    }
  });
  const float rstd = 1.0f / sqrtf(block_sum(s, m2) / count + p.eps);
  if (threadIdx.x == 0) {
    float* to = in.mean_rstd + 2 * (at.n * in.groups + at.group);
    to[0] = mean;
    to[1] = rstd;
  }

#pragma unroll
  for (int e = 0; e < kWidth; ++e) k.a[e] *= rstd;
  T* const y = static_cast<T*>(p.y.data) + at.n * at.units * p.y.row_stride + at.channel;
  const auto result = [&](int i, int e) {
    return activated(in.silu, fmaf(static_cast<float>(kept[i].v[e]) - mean, k.a[e], k.b[e]));
  };
#pragma unroll
  for (int i = 0; i < kKept; i += kPool ? 4 : 1) {
    const int unit = unit_of<kPool>(at, i);
    if (unit >= at.units) continue;
    Vec<T, kWidth> out;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      if constexpr (kPool)
        out.v[e] =
            T(0.25f * (result(i, e) + result(i + 1, e) + result(i + 2, e) + result(i + 3, e)));
      else
        out.v[e] = T(result(i, e));
    }
    store_vec(y + unit * p.y.row_stride, out);
  }
}

}  // namespace

void group_norm_fwd_v3(const GroupNormFwdParams& p, Stream stream) {
  for_vectors(p.in.x0.dtype, p.vector, [&](auto zero, auto width) {
    using T = decltype(zero);
    constexpr int kWidth = decltype(width)::value;
    launch(
        {"group_norm_one_block", one_block_grid(p.in), p.threads,
         shared_bytes<BlockStorage<float>>()},
        stream,
        p.in.pool ? one_block_fwd_kernel<T, kWidth, true> : one_block_fwd_kernel<T, kWidth, false>,
        p);
  });
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
