#pragma once
// Changing the resolution of [N,H,W,C].
#include "runtime/op.h"

namespace tiller {

enum class ResampleKind : std::uint8_t {
  nearest_up2x,  ///< y[p,q] = x[p/2,q/2]; P = 2H, Q = 2W
  mean_pool2x2,  ///< mean of 2x2 blocks; P = H/2, Q = W/2, H and W even
  bilinear,      ///< F.interpolate(mode="bilinear", align_corners=False), any P, Q
  area,          ///< F.interpolate(mode="area") = adaptive mean pooling, any P, Q
};
const char* name(ResampleKind kind);

struct ResampleFwdArgs {
  ResampleKind kind = ResampleKind::nearest_up2x;
  Tensor x;  // [N,H,W,C]
  Tensor y;  // [N,P,Q,C] out
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// The transpose of the forward.
struct ResampleBwdArgs {
  ResampleKind kind = ResampleKind::nearest_up2x;
  Tensor dy;  // [N,P,Q,C]
  Tensor dx;  // [N,H,W,C] out
  Device device() const { return dx.device(); }
  DType dtype() const { return dx.dtype(); }
};

void check(const ResampleFwdArgs& args);
void check(const ResampleBwdArgs& args);
Cost cost(const ResampleFwdArgs& args);
Cost cost(const ResampleBwdArgs& args);
std::string describe(const ResampleFwdArgs& args);
std::string describe(const ResampleBwdArgs& args);

extern const Op<ResampleFwdArgs> resample_fwd;
extern const Op<ResampleBwdArgs> resample_bwd;

}  // namespace tiller
