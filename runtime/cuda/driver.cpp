#include "runtime/cuda/driver.h"

#include <cuda_runtime.h>

#include "runtime/error.h"

namespace tiller::cuda {

void* driver_function(const char* name, unsigned version) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
  if (status != cudaSuccess) {
    cudaGetLastError();  // it is reported here
    fail(ErrorKind::failed,
         fmt::format("cuda: the driver's {} cannot be had: {}", name, cudaGetErrorString(status)));
  }
  TILLER_CHECK(found == cudaDriverEntryPointSuccess && function,
               "cuda: the driver has no {} of CUDA {}.{}; install a newer driver", name,
               version / 1000, version % 1000 / 10);
  return function;
}

PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encode_tiled() {
  static void* const function = driver_function("cuTensorMapEncodeTiled", 12000);
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

PFN_cuTensorMapEncodeIm2col_v12000 tensor_map_encode_im2col() {
  static void* const function = driver_function("cuTensorMapEncodeIm2col", 12000);
  return reinterpret_cast<PFN_cuTensorMapEncodeIm2col_v12000>(function);
}

}  // namespace tiller::cuda
