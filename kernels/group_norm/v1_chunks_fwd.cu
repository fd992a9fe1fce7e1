// Group norm forward, v1_chunks.
//
// math      kernels/group_norm/group_norm.h
// shapes    x [N,pixels,C] in one or two sources, y likewise or a quarter of the pixels with pool
// mapping   three kernels. moments: a block of 32 channels x 8 pixels walks a chunk of 256 pixels;
//           each thread sums deviations from the first value it sees (sums of x itself would cancel
//           where the mean is large against the deviation), eight rows merge by Chan's formula.
//           join: a warp per sample and group merges chunks and channels in order. apply: a thread
//           per element
// traffic   x twice, y once: 3 N pixels C elements; once less with ready statistics
// roofline  memory
// delta     the first row. One block per (n, group) would fill 32 of 132 SMs at batch 1; here a
//           256x256 image has 256 chunks
// limits    no f64; apply reads its six parameters anew for every element (from the cache)
#include "kernels/group_norm/moments.cuh"
#include "kernels/group_norm/v1_chunks.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// Moments of a chunk: p.x(row, channel) is the element. `skip` channels are ready.
template <class Element>
__device__ __forceinline__ void chunk_moments(PairStorage& s, std::int64_t channels,
                                              std::int64_t pixels, bool skip, float* partial,
                                              const Element& element) {
  const ChunkPlace at = chunk_place(pixels);
  const bool mine = at.channel < channels && !skip;
  float shift = 0.0f, sum = 0.0f, squares = 0.0f;
  if (mine && at.begin + at.row < at.end) {
    shift = element(at.sample * pixels + at.begin + at.row, at.channel);
    for (std::int64_t i = at.begin + at.row; i < at.end; i += kRows) {
      const float d = element(at.sample * pixels + i, at.channel) - shift;
      sum += d;
      squares = fmaf(d, d, squares);
    }
  }
  const float count = seen_pixels(at.end - at.begin, at.row, kRows);
  const float mean = count > 0.0f ? sum / count : 0.0f;
  s.first[at.row * kColumns + at.column] = shift + mean;
  s.second[at.row * kColumns + at.column] = squares - sum * mean;
  __syncthreads();
  if (at.row > 0 || !mine) return;
  Moments all{count, s.first[at.column], s.second[at.column]};
  for (int row = 1; row < kRows; ++row)
    all = merge(all, {seen_pixels(at.end - at.begin, row, kRows),
                      s.first[row * kColumns + at.column], s.second[row * kColumns + at.column]});
  float* to = partial + partial_at(channels, at.sample, blockIdx.y, gridDim.y, at.channel);
  to[0] = all.mean;
  to[1] = all.m2;
}

// The chunks of one sample and channel together, in order.
__device__ __forceinline__ Moments join_chunks(const float* partial, std::int64_t channels,
                                               std::int64_t pixels, std::int64_t chunk_pixels,
                                               std::int64_t n, std::int64_t c) {
  const std::int64_t chunks = (pixels + chunk_pixels - 1) / chunk_pixels;
  Moments all{0.0f, 0.0f, 0.0f};
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t left = pixels - chunk * chunk_pixels;
    const float* part = partial + partial_at(channels, n, chunk, chunks, c);
    all = merge(all,
                {static_cast<float>(left < chunk_pixels ? left : chunk_pixels), part[0], part[1]});
  }
  return all;
}

__global__ void __launch_bounds__(kThreads, 2)
    group_moments_kernel(const GroupNormFwdParams __grid_constant__ p) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x % kColumns;
  const bool ready = c < p.in.c0 ? p.stats0.data != nullptr : p.stats1.data != nullptr;
  chunk_moments(
      shared<PairStorage>(), p.in.channels, p.in.pixels, ready, p.partial,
      [&](std::int64_t row, std::int64_t channel) { return source_at(p.in, row, channel); });
}

// A warp per (n, g). Channels have equal counts, so the group's mean is the mean of theirs.
__global__ void __launch_bounds__(32)
    group_join_kernel(const GroupNormFwdParams __grid_constant__ p) {
  const GroupNormInput& in = p.in;
  const std::int64_t size = in.channels / in.groups;
  const std::int64_t n = blockIdx.x / in.groups, g = blockIdx.x % in.groups;
  float sum = 0.0f;
  for (std::int64_t i = threadIdx.x; i < size; i += 32) {
    const std::int64_t c = g * size + i;
    const View& ready = c < in.c0 ? p.stats0 : p.stats1;
    Moments m;
    if (ready.data) {
      const std::int64_t row = c < in.c0 ? n * in.c0 + c : n * (in.channels - in.c0) + c - in.c0;
      m = {0.0f, load(ready, row, 0), load(ready, row, 1)};
    } else {
      m = join_chunks(p.partial, in.channels, in.pixels, in.chunk_pixels, n, c);
    }
    float* own = p.moments + 2 * (n * in.channels + c);
    own[0] = m.mean;
    own[1] = m.m2;
    sum += m.mean;
  }
  const float mean = warp_sum(sum) / static_cast<float>(size);
  float m2 = 0.0f;
  for (std::int64_t i = threadIdx.x; i < size; i += 32) {  // what this lane wrote itself
    const float* own = p.moments + 2 * (n * in.channels + g * size + i);
    const float d = own[0] - mean;
    m2 += own[1] + static_cast<float>(in.pixels) * (d * d);
  }
  m2 = warp_sum(m2);
  if (threadIdx.x > 0) return;
  float* out = in.mean_rstd + 2 * (n * in.groups + g);
  out[0] = mean;
  out[1] = 1.0f / sqrtf(m2 / static_cast<float>(in.pixels * size) + p.eps);
}

__device__ __forceinline__ float activated(const GroupNormInput& in, const Affine& a,
                                           std::int64_t row, std::int64_t c) {
  const float z = a.z(a.xhat(source_at(in, row, c)));
  return in.silu ? z / (1.0f + expf(-z)) : z;
}

__global__ void __launch_bounds__(kThreads, 2)
    group_apply_kernel(const GroupNormFwdParams __grid_constant__ p) {
  const GroupNormInput& in = p.in;
  const std::int64_t out_pixels = in.pool ? in.pixels / 4 : in.pixels;
  const std::int64_t count = in.samples * out_pixels * in.channels;
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t row = i / in.channels, c = i - row * in.channels;
    const std::int64_t n = row / out_pixels, pixel = row - n * out_pixels;
    const Affine a = affine_of(in, n, c);
    float y;
    if (in.pool) {
      const std::int64_t half = in.width / 2;
      const std::int64_t corner =
          n * in.pixels + pixel / half * 2 * in.width + pixel % half * 2;  // top left
      y = activated(in, a, corner, c) + activated(in, a, corner + 1, c);
      y += activated(in, a, corner + in.width, c);
      y += activated(in, a, corner + in.width + 1, c);
      y *= 0.25f;
    } else {
      y = activated(in, a, row, c);
    }
    store(p.y, row, c, y);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    channel_moments_kernel(const MomentsParams __grid_constant__ p) {
  chunk_moments(shared<PairStorage>(), p.x.cols, p.pixels, false, p.partial,
                [&](std::int64_t row, std::int64_t channel) { return load(p.x, row, channel); });
}

__global__ void __launch_bounds__(kThreads, 2)
    channel_join_kernel(const MomentsParams __grid_constant__ p) {
  for (std::int64_t i = first_element(); i < p.samples * p.x.cols; i += next_element()) {
    const std::int64_t n = i / p.x.cols, c = i - n * p.x.cols;
    const Moments all = join_chunks(p.partial, p.x.cols, p.pixels, kChunkPixels, n, c);
    p.moments[2 * i] = all.mean;
    p.moments[2 * i + 1] = all.m2;
  }
}

}  // namespace

std::int64_t group_norm_chunks(std::int64_t pixels) {
  return (pixels + kChunkPixels - 1) / kChunkPixels;
}

void group_norm_fwd_v1(const GroupNormFwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  if (!p.stats0.data || (in.x1.data && !p.stats1.data))
    launch({"group_norm_moments", chunk_grid(in.channels, in.pixels, in.samples), kThreads,
            shared_bytes<PairStorage>()},
           stream, group_moments_kernel, p);
  launch({"group_norm_join", static_cast<unsigned>(in.samples * in.groups), 32}, stream,
         group_join_kernel, p);
  const std::int64_t outputs = in.samples * (in.pool ? in.pixels / 4 : in.pixels) * in.channels;
  launch({"group_norm_apply", blocks_for(outputs), kThreads}, stream, group_apply_kernel, p);
}

void channel_moments_v1(const MomentsParams& p, Stream stream) {
  launch({"channel_moments", chunk_grid(p.x.cols, p.pixels, p.samples), kThreads,
          shared_bytes<PairStorage>()},
         stream, channel_moments_kernel, p);
  launch({"channel_moments_join", blocks_for(p.samples * p.x.cols, 1), kThreads}, stream,
         channel_join_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
