#pragma once
// Changing the resolution of [N,H,W,C].
#include "kernels/resample/kinds.h"
#include "runtime/op.h"

namespace tiller {

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
