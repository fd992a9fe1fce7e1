#pragma once
// The fast CPU row of dropout.
#include "kernels/dropout/dropout.h"

namespace tiller {

bool dropout_fast_supports(const DropoutArgs& args);
void dropout_fast(const DropoutArgs& args, void* workspace, Stream stream);

}  // namespace tiller
