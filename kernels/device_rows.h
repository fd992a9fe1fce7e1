#pragma once
// What the host side of device rows shares. A file <op>/rows_device.cpp turns the operation's
// arguments into kernel parameters and lists the rows; it is compiled once for every device
// (TILLER_DEVICE is cuda or simt), beside the kernels that it launches.
#include "kernels/check.h"
#include "kernels/rows_cuda.h"
#include "kernels/view.h"
#include "runtime/op.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// The device that this file is compiled for.
inline constexpr DeviceType kDeviceType = DeviceType::TILLER_DEVICE;

inline View view_of(const Tensor& t) {
  if (!t) return {};
  return {t.raw(), t.rows(), t.cols(), t.row_stride(), t.dtype()};
}

/// Whether none of the tensors is f64: kernels compute in f32.
template <class... Tensors>
bool not_f64(const Tensors&... tensors) {
  return ((!tensors.defined() || tensors.dtype() != DType::f64) && ...);
}

/// Whether a tensor's first element is aligned to 16 bytes: enough for a dense one, whose rows are
/// of no account.
inline bool starts_aligned(const Tensor& t) {
  return static_cast<std::size_t>(t.offset()) * size_of(t.dtype()) % 16 == 0;
}

/// Whether kernels/vectors.cuh can walk a tensor eight elements at a time; an absent one it can.
/// Eights never straddle a row of a slice; the last elements of a dense tensor may be fewer.
inline bool in_eights(const Tensor& t) {
  if (!t) return true;
  const bool floats =
      t.dtype() == DType::f32 || t.dtype() == DType::f16 || t.dtype() == DType::bf16;
  if (!floats || !starts_aligned(t)) return false;
  return t.dense() || (t.cols() % 8 == 0 && t.aligned(16));
}
template <class... Tensors>
bool all_in_eights(const Tensors&... tensors) {
  return (in_eights(tensors) && ...);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
