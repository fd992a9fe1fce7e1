#include "nn/pool_head.h"

#include <limits>

namespace tiller {

namespace {
constexpr std::int64_t kHidden = 2048;  // of the spatial pools
}

PoolHead::PoolHead(const Scope& scope, const ClassifierConfig& config, std::int64_t channels,
                   std::int64_t features, std::int64_t positions)
    : Module(scope.path()), pool_(config.pool) {
  switch (pool_) {
    case Pool::adaptive:
      norm_.emplace(scope / 0, channels);
      conv_.emplace(scope / 3, channels, config.num_classes, Conv2d::Geometry{.kernel = 1},
                    Start::zero);
      break;
    case Pool::attention:
      norm_.emplace(scope / 0, channels);
      attention_.emplace(scope / 2, positions, channels, config.num_head_channels,
                         config.num_classes);
      break;
    case Pool::spatial:
      first_.emplace(scope / 0, features, kHidden);
      last_.emplace(scope / 2, kHidden, config.num_classes);
      break;
    case Pool::spatial_v2:
      first_.emplace(scope / 0, features, kHidden);
      norm_.emplace(scope / 1, kHidden);
      last_.emplace(scope / 3, kHidden, config.num_classes);
      break;
  }
}

Var PoolHead::forward(const Activation& x) const {
  const std::int64_t n = x.x.dim(0);
  switch (pool_) {
    case Pool::adaptive: {
      const Var normed = norm_->fused(x, {}, {.silu = true});                        // [N,H,W,C]
      const Var mean = reduce_mean(normed, ReduceOver::spatial);                     // [N,C]
      const Var logits = conv_->fused(reshape(mean, {n, 1, 1, mean.dim(1)}), {}).x;  // [N,1,1,K]
      return reshape(logits, {n, logits.dim(3)});
    }
    case Pool::attention:
      return (*attention_)(norm_->fused(x, {}, {.silu = true}));
    case Pool::spatial: {
      const Var hidden = (*first_)(x.x);  // [N,2048]
      const Var relu = clamp(hidden, 0, std::numeric_limits<double>::infinity());
      return (*last_)(relu);
    }
    case Pool::spatial_v2: {
      const Var hidden = reshape((*first_)(x.x), {n, 1, kHidden});  // [N,1,2048]: one token
      const Var normed = norm_->fused(hidden, {}, {.silu = true});
      return (*last_)(reshape(normed, {n, kHidden}));
    }
  }
  fail(ErrorKind::failed, "unknown pool");
}

void PoolHead::check_positions(std::int64_t height, std::int64_t width, std::int64_t stride) const {
  if (!attention_) return;
  const std::int64_t found = (height / stride) * (width / stride);
  TILLER_CHECK(
      found == attention_->positions(),
      "Classifier: its attention pool was made for {} positions, but a picture of {}x{} pixels "
      "has {} (1/{} of its size a side)",
      attention_->positions(), height, width, found, stride);
}

}  // namespace tiller
