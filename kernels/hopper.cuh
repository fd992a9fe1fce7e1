#pragma once
// kernels/device.cuh, and what sm_90a has beside it: the door of kernels for Hopper alone.
#if defined(__CUDACC__)
#include "kernels/cuda/hopper.cuh"
#include "kernels/device.cuh"
#else
#include "kernels/simt/hopper.h"
// Last, because of its keywords.
#include "kernels/device.cuh"
#endif
