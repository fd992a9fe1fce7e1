// Reductions, v1_chunks, and their transpose.
//
// math      y[o,i] = sum (or max) over m of f(x[o,m,i])
// shapes    x seen as [outer, summed, inner]
// mapping   the summed dimension is cut into chunks. inner == 1: a block sums a chunk of 4096
//           contiguous elements, each thread every 256th, then a tree over the block. inner > 1: a
//           block of 32 x 8 threads takes 32 neighbouring columns and a chunk of 256 rows, each
//           thread every 8th row. A second kernel adds a result's chunks in order.
// traffic   x once; the chunks' sums are 1/4096 (1/256) of it, written and read
// roofline  memory
// delta     the first row
// limits    no f64; few results of few chunks (a global sum below a million elements) leave most of
//           the machine idle
#include "kernels/reduce/kernels.h"
#include "kernels/view.cuh"
#include "kernels/warp.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

constexpr std::int64_t kLine = 4096;  // elements of a chunk, inner == 1
constexpr int kColumns = 32, kRows = 8;
constexpr std::int64_t kTall = 256;  // rows of a chunk, inner > 1

__device__ __forceinline__ float term(ReduceKind kind, float x) {
  if (kind == ReduceKind::sum_squares || kind == ReduceKind::mean_squares) return x * x;
  if (kind == ReduceKind::sum_abs) return fabsf(x);
  return x;
}

__device__ __forceinline__ float join(ReduceKind kind, float a, float b) {
  return kind == ReduceKind::max ? larger(a, b) : a + b;
}

__device__ __forceinline__ float identity(ReduceKind kind) {
  return kind == ReduceKind::max ? -INFINITY : 0.0f;
}

__global__ void __launch_bounds__(kThreads, 2) line_kernel(const ReduceParams __grid_constant__ p) {
  auto& s = shared<BlockStorage<float>>();
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kLine;
  const std::int64_t end = begin + kLine < p.summed ? begin + kLine : p.summed;
  // Outer results go beyond the 65535 blocks of the grid's second dimension.
  for (std::int64_t o = blockIdx.y; o < p.outer; o += gridDim.y) {
    float sum = identity(p.kind);
    for (std::int64_t m = begin + threadIdx.x; m < end; m += kThreads)
      sum = join(p.kind, sum, term(p.kind, load(p.x, o * p.summed + m)));
    sum = p.kind == ReduceKind::max ? block_max(s, sum) : block_sum(s, sum);
    if (threadIdx.x == 0) p.partial[o * gridDim.x + blockIdx.x] = sum;
  }
}

struct TallStorage {
  Array<float, kColumns * kRows> part;
};

__global__ void __launch_bounds__(kThreads, 2) tall_kernel(const ReduceParams __grid_constant__ p) {
  auto& s = shared<TallStorage>();
  const int lane = static_cast<int>(threadIdx.x % kColumns),
            own = static_cast<int>(threadIdx.x / kColumns);
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kColumns + lane;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.y) * kTall;
  const std::int64_t end = begin + kTall < p.summed ? begin + kTall : p.summed;
  const std::int64_t o = blockIdx.z;
  float sum = identity(p.kind);
  if (column < p.inner)
    for (std::int64_t m = begin + own; m < end; m += kRows)
      sum = join(p.kind, sum, term(p.kind, load(p.x, (o * p.summed + m) * p.inner + column)));
  s.part[own * kColumns + lane] = sum;
  __syncthreads();
  if (own > 0 || column >= p.inner) return;
  for (int row = 1; row < kRows; ++row) sum = join(p.kind, sum, s.part[row * kColumns + lane]);
  p.partial[(o * gridDim.y + blockIdx.y) * p.inner + column] = sum;
}

__global__ void __launch_bounds__(kThreads, 2)
    join_chunks_kernel(const ReduceParams __grid_constant__ p) {
  const std::int64_t chunks =
      p.inner == 1 ? (p.summed + kLine - 1) / kLine : (p.summed + kTall - 1) / kTall;
  const bool mean = p.kind == ReduceKind::mean || p.kind == ReduceKind::mean_squares;
  for (std::int64_t i = first_element(); i < p.outer * p.inner; i += next_element()) {
    const std::int64_t o = i / p.inner, column = i - o * p.inner;
    float sum = identity(p.kind), lost = 0.0f;
    for (std::int64_t c = 0; c < chunks; ++c) {
      const float part = p.partial[(o * chunks + c) * p.inner + column];
      if (p.kind == ReduceKind::max) {
        sum = larger(sum, part);
      } else {  // Kahan's sum: a thousand chunks would cost three digits
        const float value = part - lost, next = sum + value;
        lost = (next - sum) - value;
        sum = next;
      }
    }
    store(p.y, i, mean ? sum / static_cast<float>(p.summed) : sum);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    broadcast_to_kernel(const BroadcastToParams __grid_constant__ p) {
  const std::int64_t count = numel(p.y);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t o = i / (p.summed * p.inner), column = i % p.inner;
    store(p.y, i, p.scale * load(p.x, o * p.inner + column));
  }
}

}  // namespace

std::int64_t reduce_chunks(std::int64_t summed, std::int64_t inner) {
  const std::int64_t each = inner == 1 ? kLine : kTall;
  return (summed + each - 1) / each;
}

void reduce_v1(const ReduceParams& p, Stream stream) {
  const auto chunks = static_cast<unsigned>(reduce_chunks(p.summed, p.inner));
  if (p.inner == 1) {
    const auto rows = static_cast<unsigned>(p.outer < 65535 ? p.outer : 65535);
    launch({"reduce_line", dim3(chunks, rows), kThreads, shared_bytes<BlockStorage<float>>()},
           stream, line_kernel, p);
  } else {
    const dim3 grid(static_cast<unsigned>((p.inner + kColumns - 1) / kColumns), chunks,
                    static_cast<unsigned>(p.outer));
    launch({"reduce_tall", grid, kThreads, shared_bytes<TallStorage>()}, stream, tall_kernel, p);
  }
  launch({"reduce_join", blocks_for(p.outer * p.inner, 1), kThreads}, stream, join_chunks_kernel,
         p);
}

void broadcast_to_v1(const BroadcastToParams& p, Stream stream) {
  launch({"broadcast_to", blocks_for(p.y.rows * p.y.cols), kThreads}, stream, broadcast_to_kernel,
         p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
