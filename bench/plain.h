#pragma once
// Calls without what is fused to them: the same product, as a library that knows no fusion takes
// it.
#include "bench/ops.h"

namespace tiller::bench {

template <class Args>
Args without_fusions(Args args) {
  return args;
}

Conv2dFwdArgs without_fusions(Conv2dFwdArgs args);
Conv2dDgradArgs without_fusions(Conv2dDgradArgs args);
Conv2dWgradArgs without_fusions(Conv2dWgradArgs args);
LinearFwdArgs without_fusions(LinearFwdArgs args);
LinearWgradArgs without_fusions(LinearWgradArgs args);

/// Convolutions without their bias, too: cuDNN adds none in its plain form.
template <class Args>
Args without_bias(Args args) {
  if constexpr (requires { args.geometry, args.bias; }) args.bias = {};
  if constexpr (requires { args.geometry, args.dbias; }) args.dbias = {};
  return args;
}

}  // namespace tiller::bench
