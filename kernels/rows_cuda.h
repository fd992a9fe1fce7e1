#pragma once
// The rows that run on a GPU, and thread by thread on simt: one set of files, compiled once for
// each. Each <op>/rows_device.cpp specialises rows_on for its operations; where the CUDA toolkit
// (or Boost.Context, for simt) is missing, rows_device_none.cpp gives empty spans instead, so that
// no other file needs to know.
#include "kernels/cudnn/rows.h"
#include "kernels/row_table.h"
#include "runtime/op.h"

namespace tiller {

/// The rows of one device in study order.
template <class Args, DeviceType kDevice>
std::span<const Row<Args>> rows_on();

/// Rows for DeviceType::cuda or simt in study order, cuDNN's behind our own; none for any other.
template <class Args>
std::span<const Row<Args>> device_rows(DeviceType device) {
  if (device == DeviceType::cuda) {
    static const RowTable<Args> cuda(rows_on<Args, DeviceType::cuda>(), cudnn_rows<Args>());
    return cuda.rows();
  }
  if (device == DeviceType::simt) return rows_on<Args, DeviceType::simt>();
  return {};
}

}  // namespace tiller
