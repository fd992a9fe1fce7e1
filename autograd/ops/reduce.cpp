// Sums and means; their backward spreads dy over what was summed.
#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

namespace {

Var reduced(const char* op, const Var& x, ReduceOver over, bool mean) {
  TILLER_CHECK(x.defined() && (over == ReduceOver::all || x.value().rank() >= 1), "{}: {} over={}",
               op, to_string(x.value()), name(over));
  const Tensor y = compute::reduced(mean ? ReduceKind::mean : ReduceKind::sum, over, x.value(),
                                    accumulate_dtype(x.dtype()));
  const Shape shape = x.shape();
  const DType dtype = x.dtype();
  const double scale =
      mean ? static_cast<double>(y.numel()) / static_cast<double>(shape.numel()) : 1;
  return record(op, {x}, y, saved(), [=](const Saved&, const Tensor& dy, Needs) {
    const BroadcastToArgs args{over, dy, Tensor::empty(shape, dtype, dy.device()), scale};
    check(args);
    run(broadcast_to, args);
    return Grads{args.y};
  });
}

}  // namespace

Var reduce_sum(const Var& x, ReduceOver over) { return reduced("reduce_sum", x, over, false); }
Var reduce_mean(const Var& x, ReduceOver over) { return reduced("reduce_mean", x, over, true); }

Tensor reduce_max(const Tensor& x, ReduceOver over) {
  TILLER_CHECK(!Var(x).needs_grad(), "reduce_max: {} needs a gradient, which a maximum has not",
               to_string(x));
  return compute::reduced(ReduceKind::max, over, x, x.dtype());
}

}  // namespace tiller
