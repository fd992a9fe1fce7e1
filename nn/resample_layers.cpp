#include "nn/resample_layers.h"

namespace tiller {

Downsample::Downsample(const Scope& scope, std::int64_t channels, bool with_conv)
    : Module(scope.path()) {
  if (with_conv)
    op_.emplace(scope / "op", channels, channels, Conv2d::Geometry{.kernel = 3, .stride = 2});
}

Activation Downsample::forward(const Activation& x) const {
  return op_ ? (*op_)(x.x) : mean_pool2x2(x.x);
}

Upsample::Upsample(const Scope& scope, std::int64_t channels, bool with_conv)
    : Module(scope.path()) {
  if (with_conv)
    conv_.emplace(scope / "conv", channels, channels, Conv2d::Geometry{.kernel = 3, .up2x = true});
}

Activation Upsample::forward(const Activation& x) const {
  return conv_ ? (*conv_)(x.x) : upsample2x(x.x);
}

}  // namespace tiller
