#include "kernels/cuda/launch.h"

#include <mutex>
#include <unordered_set>

#include "runtime/cuda/errors.h"
#include "runtime/error.h"
#include "runtime/trace.h"

namespace tiller::cuda_launch {

namespace {
void check(cudaError_t status, const Config& config) {
  TILLER_CHECK(status == cudaSuccess,
               "cuda: kernel {}, grid {}x{}x{}, block {}x{}x{}, {} bytes of shared memory: {}",
               config.kernel, config.grid.x, config.grid.y, config.grid.z, config.block.x,
               config.block.y, config.block.z, config.shared, cudaGetErrorString(status));
}
}  // namespace

void before(const Config& config, Stream stream) {
  if (trace_level() < TraceLevel::launches) return;
  const auto grid = static_cast<std::int64_t>(config.grid.x) * config.grid.y * config.grid.z;
  trace_sink()->on_launch({config.kernel, stream.device, grid,
                           static_cast<int>(config.block.x * config.block.y * config.block.z)});
}

void allow_shared(const Config& config, const void* kernel) {
  static std::mutex mutex;
  static std::unordered_set<const void*> allowed;
  const std::lock_guard lock(mutex);
  if (!allowed.insert(kernel).second) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(config.shared)),
        config);
}

void after(const Config& config, Stream stream) {
  cuda::note_launch(config.kernel);
  check(cudaGetLastError(), config);
  if (!cuda::waits_for_each_kernel()) return;
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(handle, &capture), config);
  if (capture != cudaStreamCaptureStatusNone) return;  // it is not run now
  check(cudaStreamSynchronize(handle), config);
  cuda::note_all_well();
}

}  // namespace tiller::cuda_launch
