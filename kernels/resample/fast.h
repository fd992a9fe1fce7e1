#pragma once
// The fast CPU rows of resampling.
#include "kernels/resample/resample.h"

namespace tiller {

bool resample_fwd_fast_supports(const ResampleFwdArgs& args);
bool resample_bwd_fast_supports(const ResampleBwdArgs& args);
void resample_fwd_fast(const ResampleFwdArgs& args, void* workspace, Stream stream);
void resample_bwd_fast(const ResampleBwdArgs& args, void* workspace, Stream stream);

}  // namespace tiller
