#include "runtime/cuda/source.h"

#include <cuda_runtime.h>

#include "runtime/cuda/errors.h"

namespace tiller::cuda {

namespace {

// cudaMalloc is no work of a stream, so a capture may go on around it; the driver wants to be told.
class RelaxedCapture {
 public:
  RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~RelaxedCapture() { cudaThreadExchangeStreamCaptureMode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

}  // namespace

void* Source::reserve(std::size_t bytes) {
  const RelaxedCapture relaxed;
  void* segment = nullptr;
  const cudaError_t status = cudaMalloc(&segment, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the cache reports it, or finds a way
    return nullptr;
  }
  check(status, "cudaMalloc");
  return segment;
}

// Waits for the device by itself. At exit the driver may be gone: there is nothing to do then.
void Source::release(void* segment, std::size_t) noexcept { cudaFree(segment); }

void* Source::mark(void* stream) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  check(cudaEventRecord(event, static_cast<cudaStream_t>(stream)), "cudaEventRecord");
  return event;
}

bool Source::reached(void* mark) {
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(mark));
  if (status == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check(status, "cudaEventQuery");
  return true;
}

void Source::await(void* mark) {
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(mark)), "cudaEventSynchronize");
}

void Source::forget(void* mark) noexcept { cudaEventDestroy(static_cast<cudaEvent_t>(mark)); }

}  // namespace tiller::cuda
