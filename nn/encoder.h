#pragma once
#include "nn/block.h"

namespace tiller {

/// time_embed: the sinusoidal embedding of t through two Linear layers.
class TimeEmbedding : public Module<TimeEmbedding> {
 public:
  TimeEmbedding(const Scope& scope, const TorsoConfig& torso);
  /// t [N] in the parameters' dtype -> [N,4*model_channels].
  Var forward(const Tensor& t) const;

 private:
  std::int64_t model_channels_;
  Linear first_, second_;
};

/// The way down and the bottom, which the UNet and the classifier share: input_blocks and
/// middle_block.
class Encoder {
 public:
  /// `places` numbers the residual blocks.
  Encoder(const Scope& scope, const TorsoConfig& torso, ResBlockPlaces& places);
  /// x [N,H,W,C], x1 a second source of the first convolution or none, emb [N,E] -> [N,H/s,W/s,K],
  /// with s the stride. `outputs` receives the output of every input block.
  Activation operator()(const Var& x, const Var& x1, const Embedded& emb,
                        std::vector<Activation>& outputs) const;
  /// ResBlock::embed() of every residual block.
  void embed(const Var& emb, const Tensor& all) const;
  /// Channels of every input block's output, in order.
  const std::vector<std::int64_t>& channels() const { return channels_; }

 private:
  std::vector<std::int64_t> channels_;
  std::vector<Block> input_blocks_;
  Block middle_block_;
};

/// Throws Error unless x is [N,H,W,channels] with H and W multiples of `stride`.
void check_input(const char* network, const Tensor& x, std::int64_t channels, std::int64_t stride);
/// t [N] f32 or f64 as `dtype`; throws Error for anything else.
Tensor timesteps(const Tensor& t, DType dtype);

}  // namespace tiller
