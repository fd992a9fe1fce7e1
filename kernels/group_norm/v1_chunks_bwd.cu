// Group norm backward, v1_chunks.
//
// math      with dz = dL/dz, k = gamma (1 + scale), S1 = sum_p dz, S2 = sum_p dz xhat:
//           dshift = S1, dscale = gamma S2 + beta S1, dbeta = sum_n (1+scale) S1, dgamma likewise
//           with S2, dx = rstd (k dz - mean_g(k dz) - xhat mean_g(k dz xhat))
// shapes    as the forward
// mapping   sums: a block of 32 channels x 8 pixels walks a chunk of 256 pixels. join: a warp per
//           sample and group adds chunks and channels in order and writes demb. parameters: a
//           thread per channel walks the samples. apply: a thread per element
// traffic   x and dy twice, dx once: 5 N pixels C elements (and the addend's once)
// roofline  memory; SiLU's exponential is taken twice an element
// delta     the first row
// limits    no f64; only x, mean and rstd are kept from the forward, so z is made again
#include "kernels/group_norm/v1_chunks.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    group_sums_kernel(const GroupNormBwdParams __grid_constant__ p) {
  auto& s = shared<PairStorage>();
  const GroupNormInput& in = p.in;
  const ChunkPlace at = chunk_place(in.pixels);
  float s1 = 0.0f, s2 = 0.0f;
  if (at.channel < in.channels) {
    const Affine a = affine_of(in, at.sample, at.channel);
    for (std::int64_t i = at.begin + at.row; i < at.end; i += kRows) {
      const float xhat = a.xhat(source_at(in, at.sample * in.pixels + i, at.channel));
      const float dz = dz_at(p, a, at.sample, i, at.channel, xhat);
      s1 += dz;
      s2 = fmaf(dz, xhat, s2);
    }
  }
  s.first[at.row * kColumns + at.column] = s1;
  s.second[at.row * kColumns + at.column] = s2;
  __syncthreads();
  if (at.row > 0 || at.channel >= in.channels) return;
  for (int row = 1; row < kRows; ++row) {
    s1 += s.first[row * kColumns + at.column];
    s2 += s.second[row * kColumns + at.column];
  }
  float* to = p.partial + partial_at(in.channels, at.sample, blockIdx.y, gridDim.y, at.channel);
  to[0] = s1;
  to[1] = s2;
}

__global__ void __launch_bounds__(32)
    group_sums_join_kernel(const GroupNormBwdParams __grid_constant__ p) {
  const GroupNormInput& in = p.in;
  const std::int64_t size = in.channels / in.groups;
  const std::int64_t n = blockIdx.x / in.groups, g = blockIdx.x % in.groups;
  const std::int64_t chunks = (in.pixels + in.chunk_pixels - 1) / in.chunk_pixels;
  float sum1 = 0.0f, sum2 = 0.0f;  // of k dz and k dz xhat
  for (std::int64_t i = threadIdx.x; i < size; i += 32) {
    const std::int64_t c = g * size + i;
    float s1 = 0.0f, s2 = 0.0f;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const float* part = p.partial + partial_at(in.channels, n, chunk, chunks, c);
      s1 += part[0];
      s2 += part[1];
    }
    p.sums[2 * (n * in.channels + c)] = s1;
    p.sums[2 * (n * in.channels + c) + 1] = s2;
    const Affine a = affine_of(in, n, c);
    if (p.demb.data) {
      store(p.demb, n, c, a.gamma * s2 + a.beta * s1);
      store(p.demb, n, in.channels + c, s1);
    }
    const float k = a.gamma * a.scale1;
    sum1 += k * s1;
    sum2 += k * s2;
  }
  const float count = static_cast<float>(size * in.pixels);
  sum1 = warp_sum(sum1);
  sum2 = warp_sum(sum2);
  if (threadIdx.x > 0 || !p.means) return;
  p.means[2 * (n * in.groups + g)] = sum1 / count;
  p.means[2 * (n * in.groups + g) + 1] = sum2 / count;
}

__global__ void __launch_bounds__(kThreads, 2)
    group_parameters_kernel(const GroupNormBwdParams __grid_constant__ p) {
  const GroupNormInput& in = p.in;
  for (std::int64_t c = first_element(); c < in.channels; c += next_element()) {
    float dgamma = 0.0f, dbeta = 0.0f;
    for (std::int64_t n = 0; n < in.samples; ++n) {
      const float scale1 = in.emb.data ? 1.0f + load(in.emb, n, c) : 1.0f;
      const float* sums = p.sums + 2 * (n * in.channels + c);
      dbeta = fmaf(scale1, sums[0], dbeta);
      dgamma = fmaf(scale1, sums[1], dgamma);
    }
    if (p.dgamma) p.dgamma[c] = dgamma;
    if (p.dbeta) p.dbeta[c] = dbeta;
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    group_dx_kernel(const GroupNormBwdParams __grid_constant__ p) {
  const GroupNormInput& in = p.in;
  const std::int64_t size = in.channels / in.groups;
  const std::int64_t count = in.samples * in.pixels * in.channels;
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t row = i / in.channels, c = i - row * in.channels;
    const View& dx = c < in.c0 ? p.dx0 : p.dx1;
    if (!dx.data) continue;
    const std::int64_t n = row / in.pixels;
    const Affine a = affine_of(in, n, c);
    const float xhat = a.xhat(source_at(in, row, c));
    const float dz = dz_at(p, a, n, row - n * in.pixels, c, xhat);
    const float* means = p.means + 2 * (n * in.groups + c / size);
    const float add = c < in.c0 && p.add0.data ? load(p.add0, row, c) : 0.0f;
    store(dx, row, c < in.c0 ? c : c - in.c0,
          a.rstd * (a.gamma * a.scale1 * dz - means[0] - xhat * means[1]) + add);
  }
}

}  // namespace

void group_norm_bwd_join(const GroupNormBwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  launch({"group_norm_sums_join", static_cast<unsigned>(in.samples * in.groups), 32}, stream,
         group_sums_join_kernel, p);
  if (p.dgamma || p.dbeta)
    launch({"group_norm_parameters", blocks_for(in.channels, 1), kThreads}, stream,
           group_parameters_kernel, p);
}

void group_norm_bwd_v1(const GroupNormBwdParams& p, Stream stream) {
  const GroupNormInput& in = p.in;
  launch({"group_norm_sums", chunk_grid(in.channels, in.pixels, in.samples), kThreads,
          shared_bytes<PairStorage>()},
         stream, group_sums_kernel, p);
  group_norm_bwd_join(p, stream);
  if (p.dx0.data || p.dx1.data)
    launch({"group_norm_dx", blocks_for(in.samples * in.pixels * in.channels), kThreads}, stream,
           group_dx_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
