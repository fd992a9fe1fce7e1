#pragma once
// What the operations share: small kernel calls on plain tensors, of which most backwards are made.
// No tape is involved.
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resample/resample.h"
#include "runtime/op.h"

namespace tiller {

/// The tensor when it is needed, else none: for saved().
inline Tensor if_needed(bool needed, const Tensor& t) { return needed ? t : Tensor(); }

/// A tensor of a shape that has no bytes and costs none, to ask rows whether they would support it.
Tensor shape_only(const Shape& shape, DType dtype, Device device);

/// What kind of row would serve these arguments. No row at all counts as a study row.
template <class Args>
RowKind row_kind(const Op<Args>& op, const Args& args) {
  const Row<Args>* row = find_row(op, args);
  return row ? row->kind : RowKind::study;
}
/// Whether a row that is meant to be used serves these arguments (a peer only does when forced).
template <class Args>
bool is_fast(const Op<Args>& op, const Args& args) {
  const RowKind kind = row_kind(op, args);
  return kind == RowKind::fast || kind == RowKind::peer;
}

/// Throws Error when an index [N] i64 is outside [0, bound), e.g. "label 1000 at row 3 is not in
/// [0, 1000)", `what` being "cross_entropy: label". Looks only at bytes that the host can read.
void check_indices(const char* what, const Tensor& index, std::int64_t bound);

namespace compute {

/// f(x) in a new tensor of x's dtype, or of `dtype`.
Tensor unary(UnaryKind kind, const Tensor& x, double a = 1, double b = 0);
Tensor unary_as(DType dtype, UnaryKind kind, const Tensor& x, double a = 1, double b = 0);

/// alpha a (op) beta b in a new tensor of a's shape, and a's dtype or `dtype`.
Tensor binary(BinaryKind kind, const Tensor& a, const Tensor& b, double alpha = 1, double beta = 1,
              Broadcast broadcast = Broadcast::none);
Tensor binary_as(DType dtype, BinaryKind kind, const Tensor& a, const Tensor& b, double alpha = 1,
                 double beta = 1, Broadcast broadcast = Broadcast::none);

/// The same handle when x has the dtype, else a copy.
Tensor cast(const Tensor& x, DType dtype);
/// The same handle when x is dense, else a copy.
Tensor dense(const Tensor& x);
/// Copies x into `to`, which may be a channel slice or of another dtype.
void copy(const Tensor& x, const Tensor& to);
/// [..., C0] and [..., C1] -> [..., C0+C1].
Tensor concat(const Tensor& a, const Tensor& b);

/// dy [...,K] w [K,C] -> [...,C]: a linear layer's gradient by its input.
Tensor linear_dgrad(const Tensor& dy, const Tensor& w);

/// The sum, mean, ... of x over what `over` says, as `dtype`.
Tensor reduced(ReduceKind kind, ReduceOver over, const Tensor& x, DType dtype);
Tensor sum(const Tensor& x, ReduceOver over, DType dtype);
/// The sum that a broadcast operand's gradient needs, scaled; x itself (scaled) for
/// Broadcast::none.
Tensor sum_for(Broadcast broadcast, const Tensor& x, DType dtype, double scale = 1);

/// A resampled copy of x [N,H,W,C] of height p and width q, and the transpose: dy [N,P,Q,C] ->
/// [N,H,W,C].
Tensor resample(ResampleKind kind, const Tensor& x, std::int64_t p, std::int64_t q);
Tensor resample_transpose(ResampleKind kind, const Tensor& dy, std::int64_t h, std::int64_t w);

}  // namespace compute
}  // namespace tiller
