#pragma once
// Sums and means in a fixed order, so that a result does not depend on the number of threads:
// blocks of a fixed size are summed one by one, their sums pairwise.
#include "kernels/reduce/kinds.h"
#include "runtime/op.h"

namespace tiller {

/// What is summed over x [N, ..., C].
enum class ReduceOver : std::uint8_t {
  all,       ///< y []
  features,  ///< everything but the first dimension: y [N]
  leading,   ///< everything but the last dimension: y [C] (a bias gradient)
  spatial,   ///< everything between the first and the last: y [N,C]
  last,      ///< the last dimension: y has x's shape without it
};
const char* name(ReduceOver over);

const char* name(ReduceKind kind);

struct ReduceArgs {
  ReduceKind kind = ReduceKind::sum;
  ReduceOver over = ReduceOver::all;
  Tensor x;  // [N,...,C]
  Tensor y;  // out; f32 (f64 with f64) or x's dtype
  Device device() const { return y.device(); }
  DType dtype() const { return x.dtype(); }
};

/// The transpose of a sum: y[n,...,c] = scale * x[...] with x of a reduction's output shape.
struct BroadcastToArgs {
  ReduceOver over = ReduceOver::all;
  Tensor x;  // [], [N], [C], [N,C] or y's shape without its last dimension
  Tensor y;  // [N,...,C] out
  double scale = 1;
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

void check(const ReduceArgs& args);
void check(const BroadcastToArgs& args);
Cost cost(const ReduceArgs& args);
Cost cost(const BroadcastToArgs& args);
std::string describe(const ReduceArgs& args);
std::string describe(const BroadcastToArgs& args);

extern const Op<ReduceArgs> reduce;
extern const Op<BroadcastToArgs> broadcast_to;

}  // namespace tiller
