// Dropout, v1_quads.
//
// math      y[e] = uniform(e) >= p ? x[e] / (1 - p) : 0, uniform(e) from Philox's counter of e
// shapes    [N,...], at most 2^26 elements an entry
// mapping   one Philox call makes four numbers, so a thread takes four neighbouring elements
// traffic   x once, y once; the mask is never stored, the backward draws it again
// roofline  memory in f32: ten Philox rounds are about 100 integer instructions for 32 bytes
// delta     the first row
// limits    no f64
#include "kernels/dropout/kernels.h"
#include "kernels/view.cuh"
#include "runtime/philox.h"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    dropout_kernel(const DropoutParams __grid_constant__ p) {
  const std::int64_t quads = (p.per_entry + 3) / 4;
  for (std::int64_t i = first_element(); i < p.entries * quads; i += next_element()) {
    const std::int64_t n = i / quads, quad = i - n * quads;
    const PhiloxWords words = philox({{p.first + static_cast<std::uint32_t>(quad),
                                       p.sample + static_cast<std::uint32_t>(n), p.step, p.stream}},
                                     p.key0, p.key1);
    for (int j = 0; j < 4 && 4 * quad + j < p.per_entry; ++j) {
      const std::int64_t e = n * p.per_entry + 4 * quad + j;
      const bool keep = static_cast<double>(uniform_of(words.v[j])) >= p.p;
      store(p.y, e, keep ? load(p.x, e) * p.scale : 0.0f);
    }
  }
}

}  // namespace

void dropout_v1(const DropoutParams& p, Stream stream) {
  launch({"dropout", blocks_for(p.entries * ((p.per_entry + 3) / 4), 1), kThreads}, stream,
         dropout_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
