#pragma once
// Changing the resolution between levels when the residual blocks do not do it (--resblock_updown
// False): by a convolution, or without parameters.
#include <optional>

#include "nn/layers.h"

namespace tiller {

/// 3x3 convolution of stride 2 (key "op"), or the mean of 2x2 blocks.
class Downsample : public Module<Downsample> {
 public:
  Downsample(const Scope& scope, std::int64_t channels, bool with_conv);
  Activation forward(const Activation& x) const;  ///< x [N,H,W,C] -> [N,H/2,W/2,C]

 private:
  std::optional<Conv2d> op_;
};

/// Nearest-neighbour 2x, then a 3x3 convolution (key "conv") unless without.
class Upsample : public Module<Upsample> {
 public:
  Upsample(const Scope& scope, std::int64_t channels, bool with_conv);
  Activation forward(const Activation& x) const;  ///< x [N,H,W,C] -> [N,2H,2W,C]

 private:
  std::optional<Conv2d> conv_;
};

}  // namespace tiller
