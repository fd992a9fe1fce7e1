// A GPU: memory from a caching allocator in stream order (runtime/stream_cache.h over cudaMalloc),
// copies through page-locked memory, streams, and captured graphs. The CUDA runtime is linked
// statically and finds the driver when it is first used, so the program starts without one.
#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "runtime/accelerators.h"
#include "runtime/cuda/errors.h"
#include "runtime/cuda/graph.h"
#include "runtime/cuda/source.h"
#include "runtime/cuda/staging.h"
#include "runtime/error.h"

namespace tiller {

namespace {

using cuda::check;

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int index) : index_(index), cache_(source_, fmt::format("cuda:{}", index)) {
    use();
  }

  void* allocate(std::size_t bytes, Stream stream) override {
    if (bytes == 0) return nullptr;
    use();
    return cache_.allocate(bytes, stream.handle);
  }
  void deallocate(void* data, std::size_t, Stream) noexcept override {
    if (!data) return;
    cudaSetDevice(index_);
    cache_.deallocate(data);
  }

  void copy_from_host(void* to, const void* from, std::size_t bytes, Stream stream) override {
    waits("a copy from the host", stream);
    staging_.to_device(to, from, bytes, stream_of(stream));
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) override {
    waits("a copy to the host", stream);
    staging_.to_host(to, from, bytes, stream_of(stream));
  }
  void copy(void* to, const void* from, std::size_t bytes, Stream stream) override {
    use();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_of(stream)),
          "cudaMemcpyAsync");
  }
  void fill(void* to, int byte, std::size_t bytes, Stream stream) override {
    use();
    check(cudaMemsetAsync(to, byte, bytes, stream_of(stream)), "cudaMemsetAsync");
  }
  void synchronize(Stream stream) override {
    waits("waiting for the device", stream);
    check(cudaStreamSynchronize(stream_of(stream)), "cudaStreamSynchronize");
    cuda::note_all_well();
  }

  MemoryStats memory() const override { return cache_.memory(); }
  void reset_peak() override { cache_.reset_peak(); }
  void release_cached() override {
    use();
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    cache_.release_cached();
  }

  std::string describe() const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties");
    return fmt::format("{}, sm_{}{}, {} SMs, {:.1f} GiB", properties.name, properties.major,
                       properties.minor, properties.multiProcessorCount,
                       static_cast<double>(properties.totalGlobalMem) / (1 << 30));
  }

  void* side_stream(int index) override {
    const std::lock_guard lock(mutex_);
    cudaStream_t& stream = side_streams_.at(static_cast<std::size_t>(index));
    if (!stream) {
      use();
      check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    }
    return stream;
  }

  void order(Stream earlier, Stream later) override {
    if (earlier.handle == later.handle) return;
    use();
    const StreamCache::Pool pool = cache_.capture_of(earlier.handle);
    if (pool != 0 && cache_.capture_of(later.handle) == 0) cache_.join_capture(pool, later.handle);
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
    const cudaError_t recorded = cudaEventRecord(event, stream_of(earlier));
    const cudaError_t waits = cudaStreamWaitEvent(stream_of(later), event, 0);
    cudaEventDestroy(event);  // the driver keeps it until it is reached
    check(recorded, "cudaEventRecord");
    check(waits, "cudaStreamWaitEvent");
  }

  bool captures() const override { return true; }
  void begin_capture(Stream stream) override {
    use();
    cache_.begin_capture(stream.handle);
    // Of this thread alone: a loader's thread may copy meanwhile.
    const cudaError_t status =
        cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal);
    if (status != cudaSuccess) abandon_capture(stream);
    check(status, "cudaStreamBeginCapture");
  }
  std::unique_ptr<Graph> end_capture(Stream stream) override {
    use();
    cudaGraph_t graph = nullptr;
    const cudaError_t status = cudaStreamEndCapture(stream_of(stream), &graph);
    const StreamCache::Pool pool = cache_.capture_of(stream.handle);
    cache_.end_capture(pool);
    check(status, "cudaStreamEndCapture");
    return std::make_unique<cuda::CapturedGraph>(graph, cache_, pool);
  }
  void abandon_capture(Stream stream) noexcept override {
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream_of(stream), &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();  // what went wrong is reported by whoever gave up
    const StreamCache::Pool pool = cache_.capture_of(stream.handle);
    cache_.end_capture(pool);
    cache_.drop_pool(pool);
  }
  std::uint64_t host_waits() const override { return host_waits_; }

 private:
  void use() const { check(cudaSetDevice(index_), "cudaSetDevice"); }
  void waits(const char* what, Stream stream) {
    TILLER_CHECK(cache_.capture_of(stream.handle) == 0,
                 "cuda:{}: {} within a captured step: a replay could not repeat it", index_, what);
    use();
    ++host_waits_;
  }

  int index_;
  cuda::Source source_;
  StreamCache cache_;
  cuda::Staging staging_;
  std::mutex mutex_;
  std::array<cudaStream_t, 2> side_streams_{};
  std::atomic<std::uint64_t> host_waits_{0};
};

Backend& make(int index) {
  static std::mutex mutex;
  static auto* const backends = new std::map<int, std::unique_ptr<CudaBackend>>;  // never destroyed
  const std::lock_guard lock(mutex);
  std::unique_ptr<CudaBackend>& slot = (*backends)[index];
  if (slot) return *slot;
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess)
    fail(ErrorKind::failed,
         fmt::format("this machine has no usable GPU or no driver for it ({}); use --device cpu, "
                     "or simt to run the CUDA kernels without one",
                     cudaGetErrorString(status)));
  if (index >= count)
    fail(ErrorKind::usage,
         fmt::format("cuda:{} does not exist: this machine has {} GPUs", index, count));
  slot = std::make_unique<CudaBackend>(index);
  return *slot;
}

}  // namespace

Backend& (*cuda_backend())(int) { return make; }

}  // namespace tiller
