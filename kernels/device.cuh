#pragma once
// The only door of a kernel to the machine. A .cu file includes this header (and its own .cuh),
// never CUDA's, and stands in `inline namespace TILLER_DEVICE`; so nvcc compiles it for GPUs
// (TILLER_DEVICE is cuda), and a C++ compiler for the executor of kernels/simt (TILLER_DEVICE is
// simt). What there is to use is listed, name by name, in kernels/simt/intrinsics.h.
#include "runtime/device.h"
#include "runtime/half.h"
#if defined(__CUDACC__)
#include "kernels/cuda/intrinsics.cuh"
#else
#include "kernels/simt/intrinsics.h"
// Last: these macros would break other headers.
#include "kernels/simt/keywords.h"
#endif
