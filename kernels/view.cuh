#pragma once
// Reading and writing Views. Elements are f32 in registers whatever their dtype: the branch on the
// dtype is the same for all threads of a launch.
#include "kernels/view.h"
// Last, because of its keywords.
#include "kernels/device.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

__device__ __forceinline__ std::int64_t numel(const View& v) { return v.rows * v.cols; }

/// Bytes of an element.
inline int bytes_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
      return 2;
    default:
      return 1;
  }
}

/// Where element `i` in row order stands. A dense tensor saves the division.
__device__ __forceinline__ std::int64_t offset_of(const View& v, std::int64_t i) {
  if (v.row_stride == v.cols) return i;
  if (v.rows * v.cols < (std::int64_t{1} << 31)) {  // 32-bit divisions are four times cheaper
    const auto narrow = static_cast<std::uint32_t>(i), cols = static_cast<std::uint32_t>(v.cols);
    const std::uint32_t row = narrow / cols;
    return static_cast<std::int64_t>(row) * v.row_stride + (narrow - row * cols);
  }
  const std::int64_t row = i / v.cols;
  return row * v.row_stride + (i - row * v.cols);
}

__device__ __forceinline__ float load_at(const View& v, std::int64_t offset) {
  switch (v.dtype) {
    case DType::f16:
      return static_cast<const f16*>(v.data)[offset];
    case DType::bf16:
      return static_cast<const bf16*>(v.data)[offset];
    case DType::f32:
      break;
    case DType::f64:
      return static_cast<float>(static_cast<const double*>(v.data)[offset]);
    case DType::i64:
      return static_cast<float>(static_cast<const std::int64_t*>(v.data)[offset]);
    case DType::i32:
      return static_cast<float>(static_cast<const std::int32_t*>(v.data)[offset]);
    case DType::i16:
      return static_cast<float>(static_cast<const std::int16_t*>(v.data)[offset]);
    case DType::i8:
      return static_cast<float>(static_cast<const std::int8_t*>(v.data)[offset]);
    case DType::u8:
    case DType::boolean:
      return static_cast<float>(static_cast<const std::uint8_t*>(v.data)[offset]);
  }
  return static_cast<const float*>(v.data)[offset];
}

__device__ __forceinline__ void store_at(const View& v, std::int64_t offset, float value) {
  switch (v.dtype) {
    case DType::f16:
      static_cast<f16*>(v.data)[offset] = f16(value);
      break;
    case DType::bf16:
      static_cast<bf16*>(v.data)[offset] = bf16(value);
      break;
    case DType::f64:
      static_cast<double*>(v.data)[offset] = value;
      break;
    default:
      static_cast<float*>(v.data)[offset] = value;
  }
}

/// Element i in row order, rounded once when stored.
__device__ __forceinline__ float load(const View& v, std::int64_t i) {
  return load_at(v, offset_of(v, i));
}
__device__ __forceinline__ void store(const View& v, std::int64_t i, float value) {
  store_at(v, offset_of(v, i), value);
}
__device__ __forceinline__ float load(const View& v, std::int64_t row, std::int64_t column) {
  return load_at(v, row * v.row_stride + column);
}
__device__ __forceinline__ void store(const View& v, std::int64_t row, std::int64_t column,
                                      float value) {
  store_at(v, row * v.row_stride + column, value);
}

/// What `value` becomes when stored in `dtype`: the parameters of a half-precision product.
__device__ __forceinline__ float rounded(DType dtype, float value) {
  if (dtype == DType::f16) return f16(value);
  if (dtype == DType::bf16) return bf16(value);
  return value;
}

/// The work of a launch over `count` elements: block i takes every gridDim.x-th run of blockDim.x
/// elements, and each thread about kPerThread of them, so that several loads are in flight.
/// Kernels say __launch_bounds__(kThreads, 2): left to itself, ptxas spills a few registers to fit
/// more blocks than these loops need.
inline constexpr int kThreads = 256, kPerThread = 4;

inline dim3 blocks_for(std::int64_t count, int per_thread = kPerThread) {
  const std::int64_t each = std::int64_t{kThreads} * per_thread;
  return dim3(static_cast<unsigned>((count + each - 1) / each));
}
__device__ __forceinline__ std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ std::int64_t next_element() {
  return static_cast<std::int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
