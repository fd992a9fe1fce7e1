#pragma once
// The classifier's four ways from feature maps to logits (--classifier_pool). All in f32 whatever
// the torso computes in.
#include <memory>
#include <optional>

#include "nn/attention_pool.h"
#include "nn/config.h"

namespace tiller {

/// `out` of EncoderUNetModel.
class PoolHead : public Module<PoolHead> {
 public:
  /// `channels` of the last feature map; `features`, the channels of all input blocks and the
  /// middle block together, are what the spatial pools see; `positions` H*W of the last feature
  /// map.
  PoolHead(const Scope& scope, const ClassifierConfig& config, std::int64_t channels,
           std::int64_t features, std::int64_t positions);
  /// adaptive, attention: x [N,H,W,C], the last feature map. spatial, spatial_v2: x [N,F], the
  /// spatial means of every block's output. -> [N,num_classes].
  Var forward(const Activation& x) const;
  /// What the last layer reads, one vector a picture: x as above -> [N,C], or [N,2048] of the spatial
  /// pools.
  Var features(const Activation& x) const;
  /// The last layer: features [N,F] -> [N,num_classes].
  Var logits(const Var& features) const;
  /// Throws Error unless the last feature map of a picture of H*W pixels has the positions that the
  /// attention pool was made for.
  void check_positions(std::int64_t height, std::int64_t width, std::int64_t stride) const;

 private:
  Pool pool_;
  // adaptive: norm, conv. attention: norm, attention. spatial: first, last. spatial_v2: first,
  // norm, last.
  std::optional<Linear> first_;
  std::optional<GroupNorm> norm_;
  std::optional<AttentionPool> attention_;
  std::optional<Conv2d> conv_;
  std::optional<Linear> last_;
};

}  // namespace tiller
