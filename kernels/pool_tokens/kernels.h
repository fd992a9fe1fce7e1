#pragma once
// What the pool_tokens kernels are launched with.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct PoolTokensFwdParams {
  View x, pos, y;  // [N,T,C], [1+T,C], [N,1+T,C]
  std::int64_t samples, tokens;
};
void pool_tokens_fwd_v1(const PoolTokensFwdParams& params, Stream stream);

struct PoolTokensBwdParams {
  View dy, dx, dpos;  // [N,1+T,C], [N,T,C] or absent, [1+T,C] or absent
  std::int64_t samples, tokens;
};
void pool_tokens_bwd_v1(const PoolTokensBwdParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
