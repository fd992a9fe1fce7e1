#pragma once
// Functions of the driver, asked for by name when they are first needed: the program is not linked
// with libcuda, so it starts on a machine that has none.
#include <cuda.h>
#include <cudaTypedefs.h>

namespace tiller::cuda {

/// The driver's function of that name, in the form of that version of CUDA (12000 for 12.0). Throws
/// Error where there is no driver, or an older one.
void* driver_function(const char* name, unsigned version);

/// cuTensorMapEncodeTiled and cuTensorMapEncodeIm2col (CUDA 12.0): the descriptors of Hopper's TMA.
PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encode_tiled();
PFN_cuTensorMapEncodeIm2col_v12000 tensor_map_encode_im2col();

}  // namespace tiller::cuda
