#pragma once
#include "nn/layers.h"
#include "nn/torso.h"

namespace tiller {

/// guided-diffusion's AttentionBlock: y = x + proj_out(attention(qkv(norm(x)))) over the H*W
/// positions.
class AttentionBlock : public Module<AttentionBlock> {
 public:
  AttentionBlock(const Scope& scope, const TorsoConfig& torso, std::int64_t channels,
                 std::int64_t heads);
  /// x [N,H,W,C] -> [N,H,W,C].
  Activation forward(const Activation& x) const;

 private:
  Var compute(const Activation& x) const;
  std::int64_t heads_;
  QkvOrder order_;
  bool checkpointed_;
  GroupNorm norm_;
  Linear qkv_;
  Linear proj_out_;
};

}  // namespace tiller
