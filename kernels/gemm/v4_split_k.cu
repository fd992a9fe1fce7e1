// The second half of v4_split_k: the parts of a sum together, and the epilogue, once. Also the
// moments of tiles together.
//
// math      sum[m,n] = part[0][m,n] + part[1][m,n] + ..., in this order; then as v3_mma's epilogue
// shapes    parts [splits][M and K rounded up to tiles] f32
// mapping   a block makes 64 rows x 16 channels; thread t has four channels of row t / 4
// traffic   4 splits M K bytes read (what v3_mma_*'s blocks have just written: from L2 mostly),
//           y written once
// roofline  L2 bandwidth; for the smallest maps the launch itself
// delta     v3_mma gives each tile to one block: an 8x8 map of one picture keeps 6 of 132 SMs busy.
//           Here blocks share a tile's sum, each a range of its steps, and a second launch adds
//           them in a fixed order. Atomics would save the launch and lose the order
// limits    workspace 4 splits M K bytes; a sum shorter than eight steps has nothing to share
#include "kernels/gemm/epilogue.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

inline constexpr int kReduceWidth = 16;
using ReduceSlice = Slice<kReduceRows, kReduceWidth>;

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    split_k_reduce_kernel(const SplitKParams __grid_constant__ q) {
  const MmaParams& p = q.product;
  auto& slice = shared<ReduceSlice>();
  const int thread = static_cast<int>(threadIdx.x);
  const int row = thread / (kReduceWidth / 4), column = thread % (kReduceWidth / 4) * 4;
  const int m = static_cast<int>(blockIdx.x) * kReduceRows + row;
  const int n0 = static_cast<int>(blockIdx.y) * kReduceWidth, n = n0 + column;
  const bool mine = m < p.z.n * p.z.p * p.z.q && n < p.z.k;
  if (mine) {
    const float* from = p.partial + std::int64_t{m} * q.padded_n + n;
    const std::int64_t part = std::int64_t{q.padded_m} * q.padded_n;
    Vec<float, 4> sum{};
#pragma unroll 4
    for (int s = 0; s < p.splits; ++s) {
      const auto& next = *reinterpret_cast<const Vec<float, 4>*>(from + s * part);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum.v[e] += next.v[e];
    }
    finish_quad<T>(p, m, n, sum);
    if (p.moments) store_vec(slice.sums, row * ReduceSlice::kPitch + column, sum);
  }
  if (!p.moments) return;
  __syncthreads();
  RunningMoments running;
  if (thread >= kReduceWidth || n0 + thread >= p.z.k) return;
  add_moments(slice, running);
  store_moments(p, static_cast<int>(blockIdx.x), n0 + thread, running);
}

// A thread for each sample and channel.
__global__ void __launch_bounds__(kThreads, 2)
    join_moments_kernel(const JoinMomentsParams __grid_constant__ p) {
  const std::int64_t count = std::int64_t{p.samples} * p.channels;
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t sample = i / p.channels, channel = i - sample * p.channels;
    RunningMoments all;
    for (int tile = 0; tile < p.tiles_per_sample; ++tile) {
      const float* part =
          p.tiles + ((sample * p.tiles_per_sample + tile) * p.channels + channel) * 2;
      all.add(p.rows, part[0], part[1]);
    }
    p.moments[2 * i] = all.mean;
    p.moments[2 * i + 1] = all.m2;
  }
}

}  // namespace

void split_k_reduce(const SplitKParams& q, Stream stream) {
  const MmaParams& p = q.product;
  const dim3 grid(static_cast<unsigned>((p.z.n * p.z.p * p.z.q + kReduceRows - 1) / kReduceRows),
                  static_cast<unsigned>((p.z.k + kReduceWidth - 1) / kReduceWidth));
  const std::size_t bytes = shared_bytes<ReduceSlice>();
  switch (p.y0.dtype) {
    case DType::f16:
      return launch({"split_k_reduce_f16", grid, kThreads, bytes}, stream,
                    split_k_reduce_kernel<f16>, q);
    case DType::bf16:
      return launch({"split_k_reduce_bf16", grid, kThreads, bytes}, stream,
                    split_k_reduce_kernel<bf16>, q);
    default:
      return launch({"split_k_reduce_f32", grid, kThreads, bytes}, stream,
                    split_k_reduce_kernel<float>, q);
  }
}

void join_moments(const JoinMomentsParams& p, Stream stream) {
  launch({"join_moments", blocks_for(std::int64_t{p.samples} * p.channels, 1), kThreads}, stream,
         join_moments_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
