#pragma once
// What TMA knows of a tensor: where it lies and which box a copy takes from it (CUDA driver API,
// "Tensor Map Object Management"). Dimensions go from the innermost outwards.
#include <array>
#include <cstdint>

#include "kernels/tensor_map_spec.h"

namespace tiller::executor {

/// The checked description. On the hardware these are 128 opaque bytes.
struct TensorMap {
  TensorMapSpec spec;
  bool im2col = false;
  int element = 2;  ///< bytes

  int rows() const;       ///< of a box: runs of row_bytes() in shared memory
  int row_bytes() const;  ///< innermost extent
  int box_bytes() const { return rows() * row_bytes(); }
};

/// Checks every rule of cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col that a wrong map breaks
/// without a word or with CUDA_ERROR_INVALID_VALUE. Throws Error.
TensorMap check_tensor_map(const TensorMapSpec& spec, bool im2col);

}  // namespace tiller::executor
