#include "nn/layers.h"

#include <cmath>

namespace tiller {

namespace {
// PyTorch's default for Linear and convolutions, weight and bias alike: U(+-1/sqrt(fan_in)).
Init initial(Start start, std::int64_t fan_in) {
  return start == Start::zero ? Init::zeros()
                              : Init::uniform(1 / std::sqrt(static_cast<double>(fan_in)));
}
}  // namespace

Conv2d::Conv2d(const Scope& scope, std::int64_t in, std::int64_t out, Geometry geometry,
               Start start)
    : Module(scope.path()),
      geometry_{geometry.stride, static_cast<int>(geometry.kernel / 2), geometry.up2x},
      weight_(scope.parameter("weight", {out, geometry.kernel, geometry.kernel, in},
                              FileLayout::oihw,
                              initial(start, in * geometry.kernel * geometry.kernel))),
      bias_(scope.parameter("bias", {out}, FileLayout::same,
                            initial(start, in * geometry.kernel * geometry.kernel))) {}

Activation Conv2d::forward(const Var& x, const Var& x1) const {
  return conv2d(x, weight_, bias_, {.geometry = geometry_, .x1 = x1, .stats = true});
}

Activation Conv2d::fused(const Var& x, ConvOptions options) const {
  const ModuleScope scope(path());
  options.geometry = geometry_;
  return conv2d(x, weight_, bias_, options);
}

Linear::Linear(const Scope& scope, std::int64_t in, std::int64_t out, FileLayout layout,
               Start start)
    : Module(scope.path()),
      weight_(scope.parameter("weight", {out, in}, layout, initial(start, in))),
      bias_(scope.parameter("bias", {out}, FileLayout::same, initial(start, in))) {}

Var Linear::forward(const Var& x) const { return linear(x, weight_, bias_); }

Var Linear::fused(const Var& x, bool silu_input, const Var& residual) const {
  const ModuleScope scope(path());
  return linear(x, weight_, bias_, residual, silu_input);
}

Var Linear::after(const GroupNorm& norm, const Activation& x) const {
  if (activation_observer() || !fuses_norm(x, norm.weight(), norm.bias(), weight_, bias_))
    return (*this)(norm(x));
  const ModuleScope scope(path());
  return normed_linear(x, norm.weight(), norm.bias(), weight_, bias_);
}

GroupNorm::GroupNorm(const Scope& scope, std::int64_t channels)
    : Module(scope.path()),
      weight_(scope.parameter("weight", {channels}, FileLayout::same, Init::ones())),
      bias_(scope.parameter("bias", {channels}, FileLayout::same, Init::zeros())) {}

Var GroupNorm::forward(const Activation& x) const { return group_norm(x, weight_, bias_); }

Var GroupNorm::fused(const Activation& x0, const Activation& x1,
                     const GroupNormOptions& options) const {
  const ModuleScope scope(path());
  if (!x1.x) return group_norm(x0, weight_, bias_, options);
  return group_norm(x0, x1, weight_, bias_, options);
}

Embedding::Embedding(const Scope& scope, std::int64_t count, std::int64_t width)
    : Module(scope.path()),
      weight_(scope.parameter("weight", {count, width}, FileLayout::same, Init::normal(1))) {}

Var Embedding::fused(const Tensor& index, const Var& addend) const {
  const ModuleScope scope(path());
  return embedding(weight_, index, addend);
}

}  // namespace tiller
