#include "runtime/cpu_backend.h"

#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/error.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kCacheLimit = std::size_t{1} << 30;  // freed bytes kept for reuse

// Small blocks round to 64 bytes; large ones to an eighth of their power of two, so that
// activations of nearly equal size share a class and at most an eighth is wasted.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 4096) return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::size_t step = 512;
  while (step * 16 < bytes) step *= 2;
  return (bytes + step - 1) / step * step;
}

std::size_t physical_memory() {
  return static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
}

class CpuBackend final : public Backend {
 public:
  void* allocate(std::size_t bytes, Stream) override {
    if (bytes == 0) return nullptr;
    if (bytes > (std::size_t{1} << 46)) refuse(bytes);
    const std::size_t size = size_class(bytes);
    {
      const std::lock_guard lock(mutex_);
      ++stats_.allocations;
      const auto found = free_.find(size);
      if (found != free_.end() && !found->second.empty()) {
        void* data = found->second.back();
        found->second.pop_back();
        stats_.cached -= size;
        grow(size);
        return data;
      }
    }
    void* data = std::aligned_alloc(kAlignment, size);
    if (!data) {
      release_cached();
      data = std::aligned_alloc(kAlignment, size);
    }
    if (!data) refuse(bytes);
    const std::lock_guard lock(mutex_);
    grow(size);
    return data;
  }

  void deallocate(void* data, std::size_t bytes, Stream) noexcept override {
    if (!data) return;
    const std::size_t size = size_class(bytes);
    const std::lock_guard lock(mutex_);
    stats_.live -= size;
    if (stats_.cached + size > kCacheLimit) return std::free(data);
    try {
      free_[size].push_back(data);
      stats_.cached += size;
    } catch (const std::bad_alloc&) {
      std::free(data);
    }
  }

  void copy_from_host(void* to, const void* from, std::size_t bytes, Stream) override {
    std::memcpy(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream) override {
    std::memcpy(to, from, bytes);
  }
  void copy(void* to, const void* from, std::size_t bytes, Stream) override {
    std::memmove(to, from, bytes);
  }
  void fill(void* to, int byte, std::size_t bytes, Stream) override {
    std::memset(to, byte, bytes);
  }
  void synchronize(Stream) override {}

  MemoryStats memory() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    stats_.peak = stats_.live;
  }
  void release_cached() override {
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : free_)
      for (void* block : blocks) std::free(block);
    free_.clear();
    stats_.cached = 0;
  }

  std::string describe() const override {
    std::string model = "processor";
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
      if (line.starts_with("model name")) {
        const std::size_t colon = line.find(':');
        if (colon != std::string::npos && colon + 2 < line.size()) model = line.substr(colon + 2);
        break;
      }
    }
    const char* vectors = "x86-64-v3";
#if defined(__x86_64__)
    vectors = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") ? "AVX-512"
                                                                                       : "AVX2";
#endif
    return fmt::format("{}, {}, {} threads, {:.1f} GiB", model, vectors, threads(),
                       static_cast<double>(physical_memory()) / (1 << 30));
  }

 private:
  void grow(std::size_t size) {
    stats_.live += size;
    stats_.peak = std::max(stats_.peak, stats_.live);
  }
  [[noreturn]] void refuse(std::size_t bytes) {
    fail(ErrorKind::out_of_memory,
         fmt::format(
             "cpu: cannot allocate {:.2f} GiB ({:.2f} GiB in use, {:.1f} GiB in the machine); "
             "use a smaller batch or smaller pictures",
             static_cast<double>(bytes) / (1 << 30), static_cast<double>(memory().live) / (1 << 30),
             static_cast<double>(physical_memory()) / (1 << 30)));
  }

  mutable std::mutex mutex_;
  MemoryStats stats_;
  std::unordered_map<std::size_t, std::vector<void*>> free_;
};

}  // namespace

Backend& cpu_backend(int) {
  static auto* const instance = new CpuBackend;  // outlives every static tensor
  return *instance;
}

}  // namespace tiller
