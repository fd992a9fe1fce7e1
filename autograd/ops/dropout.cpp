// Dropout. Nothing is kept: the mask is a function of the key.
#include "kernels/dropout/dropout.h"

#include "autograd/ops.h"

namespace tiller {

Var dropout(const Var& x, double p, const RandomKey& key, std::uint32_t layer) {
  TILLER_CHECK(x.defined() && p >= 0 && p <= 1, "dropout: p={} is not within [0, 1], x {}", p,
               to_string(x.value()));
  if (p == 0) return x;
  const auto apply = [p, key, layer](const Tensor& from) {
    const DropoutArgs args{from, Tensor::empty_like(from), p, key, layer};
    check(args);
    run(dropout_fwd, args);
    return args.y;
  };
  return record("dropout", {x}, apply(x.value()), saved(),
                [apply](const Saved&, const Tensor& dy, Needs) { return Grads{apply(dy)}; });
}

}  // namespace tiller
