#pragma once
// The fast CPU rows v1_stripes of pool_tokens: a task owns a stripe of channels of one sample (or
// one token of dpos), so that each sum has one owner and a fixed order.
#include "kernels/pool_tokens/pool_tokens.h"

namespace tiller {

void pool_tokens_fwd_fast(const PoolTokensFwdArgs& args, void* workspace, Stream stream);
void pool_tokens_bwd_fast(const PoolTokensBwdArgs& args, void* workspace, Stream stream);

}  // namespace tiller
