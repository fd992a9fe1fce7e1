#pragma once
// The convolution's three products on tensor cores.
#include "kernels/conv2d/rows.h"
#include "kernels/gemm/mma_rows.h"

namespace tiller {
inline namespace TILLER_DEVICE {

bool mma_serves(const Conv2dFwdArgs& args);
bool mma_serves(const Conv2dDgradArgs& args);
bool mma_serves(const Conv2dWgradArgs& args);

/// Over a measuring arena these only take their workspace.
void mma_run(const Conv2dFwdArgs& args, const MmaChoice& choice, Arena& arena, Stream stream);
void mma_run(const Conv2dDgradArgs& args, const MmaChoice& choice, Arena& arena, Stream stream);
void mma_run(const Conv2dWgradArgs& args, Arena& arena, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
