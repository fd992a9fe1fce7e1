#pragma once
#include "kernels/tensor_map_spec.h"

namespace tiller::cuda_launch {

/// cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col: the 128 bytes of a CUtensorMap, aligned to
/// 64. Throws Error where the driver refuses.
void encode_tiled(const TensorMapSpec& spec, void* map);
void encode_im2col(const TensorMapSpec& spec, void* map);

}  // namespace tiller::cuda_launch
