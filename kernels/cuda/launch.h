#pragma once
// The host side of launch() on a GPU.
#include <cuda_runtime.h>

#include <cstddef>

#include "runtime/device.h"

namespace tiller::cuda_launch {

struct Config {
  const char* kernel;
  dim3 grid, block;
  std::size_t shared = 0;
};

/// Reports the launch to the trace.
void before(const Config& config, Stream stream);
/// Asks for more than 48 KiB of shared memory, once for each kernel.
void allow_shared(const Config& config, const void* kernel);
/// Throws Error when the launch was refused, or an earlier kernel failed. Waits for the kernel if
/// TILLER_CUDA_SYNC says so.
void after(const Config& config, Stream stream);

}  // namespace tiller::cuda_launch
