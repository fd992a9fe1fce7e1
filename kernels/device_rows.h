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

}  // namespace TILLER_DEVICE
}  // namespace tiller
