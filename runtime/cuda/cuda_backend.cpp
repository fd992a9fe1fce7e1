// Memory of a GPU. Blocks come from the device's stream-ordered pool (cudaMallocAsync), which keeps
// what is freed and hands it out again in stream order; within the capture of a graph an allocation
// becomes a node of it. The CUDA runtime is linked statically and finds the driver when it is first
// used, so the program starts without one.
#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "runtime/accelerators.h"
#include "runtime/error.h"

namespace tiller {

namespace {

void check(cudaError_t status, const char* what) {
  TILLER_CHECK(status == cudaSuccess, "cuda: {}: {}", what, cudaGetErrorString(status));
}

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(int index) : index_(index) {
    check(cudaSetDevice(index_), "cudaSetDevice");
    check(cudaDeviceGetDefaultMemPool(&pool_, index_), "cudaDeviceGetDefaultMemPool");
    std::uint64_t keep = UINT64_MAX;  // what is freed stays ours until release_cached()
    check(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep),
          "cudaMemPoolSetAttribute");
  }

  void* allocate(std::size_t bytes, Stream stream) override {
    if (bytes == 0) return nullptr;
    use();
    void* data = nullptr;
    const cudaError_t status = cudaMallocAsync(&data, bytes, stream_of(stream));
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // it is reported here
      fail(ErrorKind::out_of_memory,
           fmt::format(
               "cuda:{}: cannot allocate {:.2f} GiB ({:.2f} GiB in use); use a smaller batch "
               "or smaller pictures",
               index_, static_cast<double>(bytes) / (1 << 30),
               static_cast<double>(live_) / (1 << 30)));
    }
    check(status, "cudaMallocAsync");
    live_ += bytes;
    ++allocations_;
    std::size_t peak = peak_;
    while (live_ > peak && !peak_.compare_exchange_weak(peak, live_)) {
    }
    return data;
  }

  void deallocate(void* data, std::size_t bytes, Stream stream) noexcept override {
    if (!data) return;
    cudaSetDevice(index_);
    cudaFreeAsync(data, stream_of(stream));  // at exit the driver may be gone: nothing to do then
    live_ -= bytes;
  }

  void copy_from_host(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy_bytes(to, from, bytes, cudaMemcpyHostToDevice, stream);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy_bytes(to, from, bytes, cudaMemcpyDeviceToHost, stream);
  }
  void copy(void* to, const void* from, std::size_t bytes, Stream stream) override {
    copy_bytes(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
  }
  void fill(void* to, int byte, std::size_t bytes, Stream stream) override {
    use();
    check(cudaMemsetAsync(to, byte, bytes, stream_of(stream)), "cudaMemsetAsync");
  }
  void synchronize(Stream stream) override {
    use();
    check(cudaStreamSynchronize(stream_of(stream)), "cudaStreamSynchronize");
  }

  MemoryStats memory() const override {
    std::uint64_t reserved = 0;
    cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved);
    const std::size_t live = live_;
    return {live, peak_, reserved > live ? reserved - live : 0, allocations_};
  }
  void reset_peak() override { peak_ = live_.load(); }
  void release_cached() override {
    use();
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check(cudaMemPoolTrimTo(pool_, 0), "cudaMemPoolTrimTo");
  }

  std::string describe() const override {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index_), "cudaGetDeviceProperties");
    return fmt::format("{}, sm_{}{}, {} SMs, {:.1f} GiB", properties.name, properties.major,
                       properties.minor, properties.multiProcessorCount,
                       static_cast<double>(properties.totalGlobalMem) / (1 << 30));
  }

 private:
  void use() const { check(cudaSetDevice(index_), "cudaSetDevice"); }
  void copy_bytes(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                  Stream stream) {
    use();
    check(cudaMemcpyAsync(to, from, bytes, kind, stream_of(stream)), "cudaMemcpyAsync");
  }

  int index_;
  cudaMemPool_t pool_ = nullptr;
  std::atomic<std::size_t> live_{0}, peak_{0};
  std::atomic<std::uint64_t> allocations_{0};
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
    fail(ErrorKind::usage,
         fmt::format("this machine has no usable GPU ({}); use --device cpu, or simt to run the "
                     "CUDA kernels without one",
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
