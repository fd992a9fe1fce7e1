#pragma once
// The fast CPU rows of reductions and broadcasts.
#include "kernels/reduce/reduce.h"

namespace tiller {

bool reduce_fast_supports(const ReduceArgs& args);
std::size_t reduce_fast_workspace(const ReduceArgs& args);
void reduce_fast(const ReduceArgs& args, void* workspace, Stream stream);

bool broadcast_to_fast_supports(const BroadcastToArgs& args);
void broadcast_to_fast(const BroadcastToArgs& args, void* workspace, Stream stream);

}  // namespace tiller
