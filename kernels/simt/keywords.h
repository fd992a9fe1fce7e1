#pragma once
// CUDA's own keywords, which C++ lacks. Included by kernels/device.cuh alone, after every other
// header.
// NOLINTBEGIN(bugprone-reserved-identifier)
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// A __grid_constant__ parameter is one object for the whole launch: here, a reference to it.
#define __grid_constant__ &
// NOLINTEND(bugprone-reserved-identifier)
