#pragma once
#include <variant>

#include "nn/attention_block.h"
#include "nn/res_block.h"
#include "nn/resample_layers.h"

namespace tiller {

/// guided-diffusion's TimestepEmbedSequential: one entry of input_blocks, middle_block or
/// output_blocks, whose layers are its children 0, 1, 2.
class Block : public Module<Block> {
 public:
  using Layer = std::variant<Conv2d, ResBlock, AttentionBlock, Downsample, Upsample>;
  explicit Block(const Scope& scope) : Module(scope.path()) {}
  /// Appends a layer, whose key is its position below `scope`, the block's own.
  template <class L, class... Args>
  void add(const Scope& scope, const Args&... args) {
    layers_.emplace_back(std::in_place_type<L>, scope / static_cast<std::int64_t>(layers_.size()),
                         args...);
  }
  /// x [N,H,W,C0], skip [N,H,W,C1] (a second source of the first layer) or none, emb -> [N,P,Q,K].
  Activation forward(const Activation& x, const Activation& skip, const Embedded& emb) const;
  /// ResBlock::embed() of every residual block here.
  void embed(const Var& emb, const Tensor& all) const;

 private:
  std::vector<Layer> layers_;
};

}  // namespace tiller
