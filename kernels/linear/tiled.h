#pragma once
// Rows v1_tiled and v2_tiled_avx512: the convolution's product with one tap. Instantiated for Avx2
// and Avx512.
#include "kernels/linear/linear.h"

namespace tiller {

template <class Isa, class Args>
bool linear_tiled_supports(const Args& args);
template <class Isa, class Args>
std::size_t linear_tiled_workspace(const Args& args);
template <class Isa, class Args>
void linear_tiled_run(const Args& args, void* workspace, Stream stream);

}  // namespace tiller
