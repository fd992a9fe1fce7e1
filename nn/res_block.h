#pragma once
#include <optional>

#include "nn/embedded.h"
#include "nn/layers.h"
#include "nn/torso.h"

namespace tiller {

/// Whether a residual block also changes the resolution (--resblock_updown).
enum class Resample : std::uint8_t { none, down, up };

/// guided-diffusion's ResBlock:
///
///   h = conv1(resample(silu(norm1(x))))
///   h = norm2(h) * (1 + scale) + shift      with scale, shift = emb_layer(silu(emb))
///   h = norm2(h + emb_layer(silu(emb)))     instead, without --use_scale_shift_norm
///   y = skip(resample(x)) + conv2(dropout(silu(h)))
///
/// Every + and silu above is fused into the kernel before or after it.
class ResBlock : public Module<ResBlock> {
 public:
  /// `place` tells this block's dropout from all others', and where its part of Embedded::blocks is.
  ResBlock(const Scope& scope, const TorsoConfig& torso, std::int64_t in, std::int64_t out,
           Resample resample, ResBlockPlace place);
  /// x [N,H,W,C0], skip [N,H,W,C1] or none (concatenated behind x), emb [N,4*model_channels]
  /// -> [N,P,Q,K].
  Activation forward(const Activation& x, const Activation& skip, const Embedded& emb) const;
  /// emb_layers(emb [N,4*model_channels]) into this block's channels of `all` [N,F].
  void embed(const Var& emb, const Tensor& all) const;

 private:
  Activation compute(const Activation& x, const Activation& skip, const Embedded& emb) const;
  Resample resample_;
  bool scale_shift_;
  bool checkpointed_;
  double dropout_;
  ResBlockPlace place_;
  std::int64_t embedding_channels_;
  // In the order of PyTorch's parameters; skip_connection_ is empty where the channels stay as they are.
  GroupNorm norm1_;
  Conv2d conv1_;
  Linear emb_layer_;
  GroupNorm norm2_;
  Conv2d conv2_;
  std::optional<Conv2d> skip_connection_;
};

}  // namespace tiller
