#pragma once
// Group normalisation (Wu & He 2018) with what the UNet does right after it.
//
//   xhat = (x - mean_g) * rstd_g                   per sample and group of C/G channels, over H,W
//   z    = (xhat * gamma + beta) * (1 + scale) + shift          scale, shift per sample and channel
//   y    = pool?(silu?(z))                         pool: mean of 2x2 blocks
#include "runtime/op.h"

namespace tiller {

struct GroupNormFwdArgs {
  Tensor x0;         // [N,H,W,C0] (or [N,T,C0])
  Tensor x1;         // [N,H,W,C1] second source, concatenated behind x0's channels; or none
  Tensor gamma;      // [C0+C1] f32 (f64 with f64)
  Tensor beta;       // [C0+C1]
  Tensor emb;        // [N,2(C0+C1)] scale then shift, f32 or x's dtype; or none (scale = shift = 0)
  Tensor stats0;     // [N,C0,2] ready mean and sum of squared deviations of x0 over H,W; or none
  Tensor stats1;     // [N,C1,2] likewise for x1
  Tensor y;          // [N,H,W,C0+C1] out, or [N,H/2,W/2,C0+C1] with pool
  Tensor mean_rstd;  // [N,G,2] out f32 (f64 with f64): what the backward needs besides x
  int groups = 32;
  double eps = 1e-5;
  bool silu = false;
  bool pool = false;

  Device device() const { return y.device(); }
  DType dtype() const { return x0.dtype(); }
};

/// Gradients of the forward; every output but dx0 may be none. SiLU is recomputed from x.
struct GroupNormBwdArgs {
  Tensor x0, x1;         // [N,H,W,C0], [N,H,W,C1] or none
  Tensor gamma, beta;    // [C]
  Tensor emb;            // [N,2C] or none
  Tensor mean_rstd;      // [N,G,2]
  Tensor dy;             // [N,H,W,C], or [N,H/2,W/2,C] with pool
  Tensor add0;           // [N,H,W,C0] added to dx0 in f32 before its one rounding, not dx0 itself;
                         // or none
  Tensor dx0;            // [N,H,W,C0] out, or none
  Tensor dx1;            // [N,H,W,C1] out, or none
  Tensor dgamma, dbeta;  // [C] out f32 (f64 with f64), or none
  Tensor demb;           // [N,2C] out, dtype of emb, or none
  int groups = 32;
  bool silu = false;
  bool pool = false;

  Device device() const { return dy.device(); }
  DType dtype() const { return x0.dtype(); }
};

void check(const GroupNormFwdArgs& args);
void check(const GroupNormBwdArgs& args);
Cost cost(const GroupNormFwdArgs& args);
Cost cost(const GroupNormBwdArgs& args);
std::string describe(const GroupNormFwdArgs& args);
std::string describe(const GroupNormBwdArgs& args);

extern const Op<GroupNormFwdArgs> group_norm_fwd;
extern const Op<GroupNormBwdArgs> group_norm_bwd;

}  // namespace tiller
