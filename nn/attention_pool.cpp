#include "nn/attention_pool.h"

#include <cmath>

namespace tiller {

AttentionPool::AttentionPool(const Scope& scope, std::int64_t positions, std::int64_t channels,
                             std::int64_t head_channels, std::int64_t out)
    : Module(scope.path()),
      heads_(channels / head_channels),
      positional_embedding_(
          scope.parameter("positional_embedding", {1 + positions, channels}, FileLayout::transposed,
                          Init::normal(1 / std::sqrt(static_cast<double>(channels))))),
      qkv_proj_(scope / "qkv_proj", channels, 3 * channels, FileLayout::conv1d),
      c_proj_(scope / "c_proj", channels, out, FileLayout::conv1d) {}

Var AttentionPool::answer(const Var& x) const {
  const std::int64_t n = x.dim(0), t = x.dim(1) * x.dim(2), c = x.dim(3);
  const Var tokens = pool_tokens(reshape(x, {n, t, c}), positional_embedding_);    // [N,1+T,C]
  const Var qkv = qkv_proj_(tokens);                                               // [N,1+T,3C]
  const Var answer = attention(qkv, heads_, QkvOrder::split, /*one_query=*/true);  // [N,1,C]
  return reshape(answer, {n, c});
}

Var AttentionPool::project(const Var& answer) const { return c_proj_(answer); }

Var AttentionPool::forward(const Var& x) const { return project(answer(x)); }

}  // namespace tiller
