#pragma once
// Tensors as kernels see them: plain numbers that travel in a kernel's parameters.
#include <cstdint>

#include "runtime/device.h"
#include "runtime/dtype.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// A tensor of rows: `rows` runs of `cols` contiguous elements, `row_stride` elements apart.
/// kernels/device_rows.h makes one from a Tensor.
struct View {
  void* data = nullptr;  ///< null: the tensor is absent
  std::int64_t rows = 0, cols = 0, row_stride = 0;
  DType dtype = DType::f32;
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
