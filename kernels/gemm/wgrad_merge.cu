// The parts of a weight gradient together.
//
// math      dw = sum over chunks of part[chunk], as a balanced tree: pairs, pairs of pairs, ... of
//           64 chunks at a time. The error grows with the logarithm of their number
// shapes    parts [splits][K R S C, K] f32
// mapping   a thread per element
// traffic   4 splits (K R S C + K) bytes read, a splits-th of it written
// roofline  memory
// delta     the first row. Atomics in the product's kernel would save the launch and lose the order
// limits    none
#include "kernels/gemm/mma.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// The sum of parts [first, first + kCount), of which `splits` exist.
template <int kCount>
__device__ __forceinline__ float tree_sum(const float* at, std::int64_t pitch, int first,
                                          int splits) {
  if constexpr (kCount == 1) {
    return first < splits ? at[first * pitch] : 0.0f;
  } else {
    return tree_sum<kCount / 2>(at, pitch, first, splits) +
           tree_sum<kCount / 2>(at, pitch, first + kCount / 2, splits);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    wgrad_merge_kernel(const MmaWgradParams __grid_constant__ p) {
  const std::int64_t weights = std::int64_t{p.k} * p.z.r * p.z.s * p.c;
  const std::int64_t count = p.dbias ? weights + p.k : weights;
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    float sum = 0.0f;
    if (p.splits <= 8)
      sum = tree_sum<8>(p.partial + i, p.pitch, 0, p.splits);
    else
      for (int first = 0; first < p.splits; first += 64)
        sum += tree_sum<64>(p.partial + i, p.pitch, first, p.splits);
    if (i < weights)
      p.dw[i] = sum;
    else
      p.dbias[i - weights] = sum;
  }
}

}  // namespace

void wgrad_merge(const MmaWgradParams& p, Stream stream) {
  const std::int64_t weights = std::int64_t{p.k} * p.z.r * p.z.s * p.c;
  launch({"wgrad_merge", blocks_for(weights + p.k, 1), kThreads}, stream, wgrad_merge_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
