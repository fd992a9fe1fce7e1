#pragma once
// What the classifier's AttentionPool2d does before its attention: the mean token in front of all
// tokens, plus the positional embedding.
//   y[n,0] = mean_t x[n,t] + pos[0];   y[n,1+t] = x[n,t] + pos[1+t]
#include "runtime/op.h"

namespace tiller {

struct PoolTokensFwdArgs {
  Tensor x;    // [N,T,C]
  Tensor pos;  // [1+T,C] f32 (f64 with f64)
  Tensor y;    // [N,1+T,C] out
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

struct PoolTokensBwdArgs {
  Tensor dy;    // [N,1+T,C]
  Tensor dx;    // [N,T,C] out, or none
  Tensor dpos;  // [1+T,C] out f32 (f64 with f64), or none
  Device device() const { return dy.device(); }
  DType dtype() const { return dy.dtype(); }
};

void check(const PoolTokensFwdArgs& args);
void check(const PoolTokensBwdArgs& args);
Cost cost(const PoolTokensFwdArgs& args);
Cost cost(const PoolTokensBwdArgs& args);
std::string describe(const PoolTokensFwdArgs& args);
std::string describe(const PoolTokensBwdArgs& args);

extern const Op<PoolTokensFwdArgs> pool_tokens_fwd;
extern const Op<PoolTokensBwdArgs> pool_tokens_bwd;

}  // namespace tiller
