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

Var PoolHead::features(const Activation& x) const {
  const std::int64_t n = x.x.dim(0);
  switch (pool_) {
    case Pool::adaptive: {
      const Var normed = norm_->fused(x, {}, {.silu = true});  // [N,H,W,C]
      return reduce_mean(normed, ReduceOver::spatial);         // [N,C]
    }
    case Pool::attention:
      return attention_->answer(norm_->fused(x, {}, {.silu = true}));
    case Pool::spatial:
      return clamp((*first_)(x.x), 0, std::numeric_limits<double>::infinity());  // [N,2048]
    case Pool::spatial_v2: {
      const Var hidden = reshape((*first_)(x.x), {n, 1, kHidden});  // [N,1,2048]: one token
      return reshape(norm_->fused(hidden, {}, {.silu = true}), {n, kHidden});
    }
  }
  fail(ErrorKind::failed, "unknown pool");
}

Var PoolHead::logits(const Var& features) const {
  if (attention_) return attention_->project(features);
  if (last_) return (*last_)(features);
  const std::int64_t n = features.dim(0);
  const Var out = conv_->fused(reshape(features, {n, 1, 1, features.dim(1)}), {}).x;  // [N,1,1,K]
  return reshape(out, {n, out.dim(3)});
}

Var PoolHead::forward(const Activation& x) const {
  // As one module, whose output is seen by whoever compares modules.
  if (attention_) return (*attention_)(norm_->fused(x, {}, {.silu = true}));
  return logits(features(x));
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
