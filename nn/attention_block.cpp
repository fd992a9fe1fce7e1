#include "nn/attention_block.h"

namespace tiller {

AttentionBlock::AttentionBlock(const Scope& scope, const TorsoConfig& torso, std::int64_t channels,
                               std::int64_t heads)
    : Module(scope.path()),
      heads_(heads),
      order_(torso.qkv_order),
      checkpointed_(torso.use_checkpoint),
      norm_(scope / "norm", channels),
      qkv_(scope / "qkv", channels, 3 * channels, FileLayout::conv1d),
      proj_out_(scope / "proj_out", channels, channels, FileLayout::conv1d, Start::zero) {}

Activation AttentionBlock::forward(const Activation& x) const {
  if (!checkpointed_ || !Tape::current()) return compute(x);
  return checkpoint(
      [this, stats = x.stats](const std::vector<Var>& in) {
        return compute({in[0], stats});
      },
      {x.x});
}

Var AttentionBlock::compute(const Activation& x) const {
  const Shape image = x.x.shape();                                             // [N,H,W,C]
  const Var tokens = reshape(x.x, {image[0], image[1] * image[2], image[3]});  // [N,T,C]
  const Var qkv = qkv_.after(norm_, Activation(tokens, x.stats));              // [N,T,3C]
  const Var mixed = attention(qkv, heads_, order_);                            // [N,T,C]
  return reshape(proj_out_.fused(mixed, /*silu_input=*/false, tokens), image);
}

}  // namespace tiller
