#pragma once
#include "nn/layers.h"

namespace tiller {

/// guided-diffusion's AttentionPool2d (after CLIP): the mean token asks all positions, and its
/// answer is the picture's. Its qkv rows are always in split order.
class AttentionPool : public Module<AttentionPool> {
 public:
  /// `positions` H*W of the feature map, which this layer fixes.
  AttentionPool(const Scope& scope, std::int64_t positions, std::int64_t channels,
                std::int64_t head_channels, std::int64_t out);
  /// x [N,H,W,C] -> [N,K].
  Var forward(const Var& x) const;
  /// Its two halves: the mean token's answer, x [N,H,W,C] -> [N,C], and the last projection of it,
  /// [N,C] -> [N,K].
  Var answer(const Var& x) const;
  Var project(const Var& answer) const;
  std::int64_t positions() const { return positional_embedding_.dim(0) - 1; }

 private:
  std::int64_t heads_;
  Tensor positional_embedding_;  // [1+T,C]
  Linear qkv_proj_;
  Linear c_proj_;
};

}  // namespace tiller
