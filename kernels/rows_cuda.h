#pragma once
// The CUDA (and simt) rows of every operation, by argument type. Without the CUDA toolkit,
// rows_cuda_none.cpp gives empty spans, so that no other file needs to know.
#include "runtime/op.h"

namespace tiller {

/// Rows for DeviceType::cuda or simt in study order; specialised for every Args in the .cu files.
template <class Args>
std::span<const Row<Args>> device_rows(DeviceType device);

}  // namespace tiller
