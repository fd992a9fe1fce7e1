// Forms of a weight for the tensor-core GEMM.
//
// math      to[k,r,s,c] = from[k,r,s,c] rounded, or to[c,r,s,k] = from[k,R-1-r,S-1-s,c]: the data
//           gradient of a stride-1 convolution is the forward on these
// shapes    [K,R,S,C]
// mapping   a thread per element of the result
// traffic   the weight read and written once; the flip reads with a stride, and runs once per
//           weight
// roofline  memory
// delta     the first row
// limits    no f64
#include "kernels/gemm/mma.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    weight_form_kernel(const WeightParams __grid_constant__ p) {
  const std::int64_t count = std::int64_t{p.k} * p.r * p.s * p.c;
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    std::int64_t from = i;
    if (p.flip) {
      const std::int64_t k = i % p.k, tap = i / p.k % (p.r * p.s), c = i / p.k / (p.r * p.s);
      from = (k * p.r * p.s + (p.r * p.s - 1 - tap)) * p.c + c;
    }
    store_at(p.to, i, load_at(p.from, from));
  }
}

}  // namespace

void weight_form(const WeightParams& p, Stream stream) {
  launch({"weight_form", blocks_for(std::int64_t{p.k} * p.r * p.s * p.c), kThreads}, stream,
         weight_form_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
