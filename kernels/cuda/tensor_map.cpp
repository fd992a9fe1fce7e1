// Tensor maps on the hardware. The two functions of the driver are asked for at run time: a program
// that is linked against the driver does not start on a machine without one.
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstring>

#include "kernels/cuda/tensor_map.h"
#include "runtime/error.h"

namespace tiller::cuda_launch {

namespace {

constexpr unsigned kSince = 12000;  // CUDA 12.0 has both functions

template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion(name, &function, kSince, cudaEnableDefault, &found);
  TILLER_CHECK(error == cudaSuccess && found == cudaDriverEntryPointSuccess && function,
               "the CUDA driver has no {}; kernels for Hopper need driver 525 or newer", name);
  return reinterpret_cast<Function>(function);
}

CUtensorMapDataType data_type(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::bf16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::f32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    default:
      fail(ErrorKind::failed, fmt::format("a tensor map of {}", name(dtype)));
  }
}

// What both kinds of map take.
struct Encoded {
  explicit Encoded(const TensorMapSpec& spec) {
    for (int d = 0; d < spec.rank; ++d) {
      size[d] = static_cast<cuuint64_t>(spec.size[d]);
      box[d] = static_cast<cuuint32_t>(spec.box[d]);
      step[d] = 1;
      if (d > 0) stride[d - 1] = static_cast<cuuint64_t>(spec.stride[d]) * size_of(spec.dtype);
    }
    rank = static_cast<cuuint32_t>(spec.rank);
    swizzle = spec.swizzle_128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE;
  }
  cuuint64_t size[5], stride[4];
  cuuint32_t box[5], step[5], rank;
  CUtensorMapSwizzle swizzle;
};

void check(CUresult result, const char* what) {
  TILLER_CHECK(result == CUDA_SUCCESS, "{}: the driver refuses the tensor map (error {})", what,
               static_cast<int>(result));
}

}  // namespace

void encode_tiled(const TensorMapSpec& spec, void* map) {
  static const auto encode =
      driver_function<decltype(&cuTensorMapEncodeTiled)>("cuTensorMapEncodeTiled");
  const Encoded e(spec);
  CUtensorMap out;
  check(encode(&out, data_type(spec.dtype), e.rank, const_cast<void*>(spec.data), e.size, e.stride,
               e.box, e.step, CU_TENSOR_MAP_INTERLEAVE_NONE, e.swizzle,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "tiled_map");
  std::memcpy(map, &out, sizeof out);
}

void encode_im2col(const TensorMapSpec& spec, void* map) {
  static const auto encode =
      driver_function<decltype(&cuTensorMapEncodeIm2col)>("cuTensorMapEncodeIm2col");
  const Encoded e(spec);
  CUtensorMap out;
  check(encode(&out, data_type(spec.dtype), e.rank, const_cast<void*>(spec.data), e.size, e.stride,
               spec.lower, spec.upper, static_cast<cuuint32_t>(spec.channels),
               static_cast<cuuint32_t>(spec.pixels), e.step, CU_TENSOR_MAP_INTERLEAVE_NONE,
               e.swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "im2col_map");
  std::memcpy(map, &out, sizeof out);
}

}  // namespace tiller::cuda_launch
