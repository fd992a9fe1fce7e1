#pragma once
// Rows v1_indirect and v2_indirect_avx512: an indirect convolution on channels-last tensors (the
// idea is M. Dukhan's, "The Indirect Convolution Algorithm", 2019). Instantiated for Avx2 and
// Avx512.
#include "kernels/conv2d/conv2d.h"

namespace tiller {

template <class Isa, class Args>
bool conv2d_indirect_supports(const Args& args);
template <class Isa, class Args>
std::size_t conv2d_indirect_workspace(const Args& args);
template <class Isa, class Args>
void conv2d_indirect_run(const Args& args, void* workspace, Stream stream);

}  // namespace tiller
