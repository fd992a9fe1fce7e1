// Dropout, v2_vectors.
//
// math      v1_quads's: the same mask, bit for bit
// shapes    [N,...], at most 2^26 elements an entry
// mapping   a thread takes eight neighbouring elements: two Philox calls, one 16-byte access for
//           halves and two for f32
// traffic   x once, y once; the mask is never stored, the backward draws it again
// roofline  memory in f32; in halves the twenty Philox rounds, about 200 integer instructions for 32
//           bytes
// delta     v1_quads loads and stores element by element, with a division for rows of a slice
// limits    f32, f16, bf16, aligned to 16 bytes; 8 m elements an entry
#include "kernels/dropout/kernels.h"
#include "kernels/vectors.cuh"
#include "runtime/philox.h"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    dropout_vec_kernel(const DropoutParams __grid_constant__ p) {
  const std::int64_t eights = p.per_entry / 8;
  for (std::int64_t i = first_element(); i < p.entries * eights; i += next_element()) {
    const std::int64_t n = i / eights, first = i - n * eights;
    Eight x = load8(p.x, i * 8);
#pragma unroll
    for (int quad = 0; quad < 2; ++quad) {
      const PhiloxWords words =
          philox({{p.first + static_cast<std::uint32_t>(2 * first + quad),
                   p.sample + static_cast<std::uint32_t>(n), p.step, p.stream}},
                 p.key0, p.key1);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const bool keep = static_cast<double>(uniform_of(words.v[j])) >= p.p;
        x.v[quad * 4 + j] = keep ? x.v[quad * 4 + j] * p.scale : 0.0f;
      }
    }
    store8(p.y, i * 8, x);
  }
}

}  // namespace

void dropout_v2(const DropoutParams& p, Stream stream) {
  launch({"dropout_vec", blocks_for(p.entries * (p.per_entry / 8), 1), kThreads}, stream,
         dropout_vec_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
