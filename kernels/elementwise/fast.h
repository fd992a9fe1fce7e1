#pragma once
// The fast CPU rows of the elementwise operations: block by block in f32 (kernels/blocks.h).
#include "kernels/elementwise/elementwise.h"

namespace tiller {

bool unary_fast_supports(const UnaryArgs& args);
bool silu_bwd_fast_supports(const SiluBwdArgs& args);
bool binary_fast_supports(const BinaryArgs& args);
bool where_fast_supports(const WhereArgs& args);

void unary_fast(const UnaryArgs& args, void* workspace, Stream stream);
void silu_bwd_fast(const SiluBwdArgs& args, void* workspace, Stream stream);
void binary_fast(const BinaryArgs& args, void* workspace, Stream stream);
void where_fast(const WhereArgs& args, void* workspace, Stream stream);

}  // namespace tiller
