#pragma once
// The product behind the fast weight-gradient rows of conv2d and linear:
//
//   dw[k, s, c] = sum over m: dy[m, k] * x(m, s)[c]
//
// x(m, s) is a row chosen by segment s (a tap), or zeros on the padding. Rows of f32 are read where
// they lie, if they are x's own in their order; others are gathered panel by panel.
// A chunk of m is summed in registers, the chunks' sums are added within a slice of m, and the slices'
// at the end, all in order: short chains of additions instead of one of N*P*Q. The slices follow from
// the shape alone, so the sums are the same on any number of threads.
#include <functional>
#include <vector>

#include "kernels/gemm/microkernel.h"
#include "runtime/tensor.h"

namespace tiller {

/// Rows whose channels go to columns [column, column + channels) of each segment of dw.
struct OuterSource {
  Tensor x;
  std::int64_t column;
};

struct Outer {
  const Microkernels* kernels;
  Tensor dy;  ///< [m,K] f32|f16|bf16
  std::int64_t segments;
  std::vector<OuterSource> sources;
  bool silu = false;  ///< x is passed through SiLU
  /// Fills rows[m] with the row of the sources that goes with row m of dy in segment s, -1 for zeros;
  /// none: row m goes with row m.
  std::function<void(std::int64_t s, std::int32_t* rows)> rows;
  Tensor dw;     ///< K x (segments * channels of all sources), dense f32
  Tensor dbias;  ///< [K] f32 or none
};

std::size_t outer_workspace(const Outer& outer);
void run_outer(const Outer& outer, void* workspace);

}  // namespace tiller
