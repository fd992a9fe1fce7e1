#pragma once
// The fast CPU rows of what training does to all parameters: one launch over the blocks of a whole
// list of tensors.
#include "kernels/optimizer/optimizer.h"

namespace tiller {

bool adamw_fast_supports(const AdamWArgs& args);
bool ema_fast_supports(const EmaArgs& args);
bool norm_fast_supports(const NormArgs& args);
bool scale_all_fast_supports(const ScaleAllArgs& args);

void adamw_fast(const AdamWArgs& args, void* workspace, Stream stream);
void ema_fast(const EmaArgs& args, void* workspace, Stream stream);
void norm_fast(const NormArgs& args, void* workspace, Stream stream);
void scale_all_fast(const ScaleAllArgs& args, void* workspace, Stream stream);

}  // namespace tiller
