#pragma once
// The ways of resampling by name, for the host and for kernels.
#include <cstdint>

namespace tiller {

enum class ResampleKind : std::uint8_t {
  nearest_up2x,  ///< y[p,q] = x[p/2,q/2]; P = 2H, Q = 2W
  mean_pool2x2,  ///< mean of 2x2 blocks; P = H/2, Q = W/2, H and W even
  bilinear,      ///< F.interpolate(mode="bilinear", align_corners=False), any P, Q
  area,          ///< F.interpolate(mode="area") = adaptive mean pooling, any P, Q
};

}  // namespace tiller
