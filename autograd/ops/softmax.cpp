// Softmax, its logarithm, and cross entropy.
#include "kernels/softmax/softmax.h"

#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

namespace {
Var softmax_any(const char* op, const Var& x, bool log) {
  TILLER_CHECK(x.defined(), "{}: x is none", op);
  const SoftmaxFwdArgs args{x.value(), Tensor::empty_like(x.value()), log};
  check(args);
  run(softmax_fwd, args);
  return record(op, {x}, args.y, saved(args.y), [log](const Saved& s, const Tensor& dy, Needs) {
    const SoftmaxBwdArgs d{s[0], dy, Tensor::empty_like(s[0]), log};
    check(d);
    run(softmax_bwd, d);
    return Grads{d.dx};
  });
}
}  // namespace

Var softmax(const Var& x) { return softmax_any("softmax", x, false); }
Var log_softmax(const Var& x) { return softmax_any("log_softmax", x, true); }

Var cross_entropy(const Var& logits, const Tensor& labels) {
  const Tensor& x = logits.value();
  TILLER_CHECK(x.defined() && x.rank() == 2, "cross_entropy: logits {} are not [M,K]",
               to_string(x));
  const CrossEntropyFwdArgs args{
      x, labels, Tensor::empty({x.dim(0)}, accumulate_dtype(x.dtype()), x.device())};
  check(args);
  check_indices("cross_entropy: label", labels, x.dim(1));
  run(cross_entropy_fwd, args);
  return record("cross_entropy", {logits}, args.loss, saved(x, labels),
                [](const Saved& s, const Tensor& dy, Needs) {
                  const CrossEntropyBwdArgs d{s[0], s[1], dy, Tensor::empty_like(s[0])};
                  check(d);
                  run(cross_entropy_bwd, d);
                  return Grads{d.dlogits};
                });
}

Tensor log_likelihood_gradient(const Tensor& logits, const Tensor& labels) {
  TILLER_CHECK(logits.defined() && logits.rank() == 2,
               "log_likelihood_gradient: logits {} are not [N,K]", to_string(logits));
  const Tensor sign = fill({logits.dim(0)}, accumulate_dtype(logits.dtype()), logits.device(), -1);
  const CrossEntropyBwdArgs args{logits, labels, sign, Tensor::empty_like(logits)};
  check(args);
  check_indices("log_likelihood_gradient: label", labels, logits.dim(1));
  run(cross_entropy_bwd, args);
  return args.dlogits;
}

}  // namespace tiller
