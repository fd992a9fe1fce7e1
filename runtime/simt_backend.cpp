// Memory of the device simt: host memory from the CPU's allocator, with two habits of a debugger.
// Fresh bytes are NaN, so an element that no kernel wrote is seen. A fence of known bytes stands on
// both sides of each block and is checked when the block is given back, so a kernel that writes
// beside its tensor is found.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/accelerators.h"
#include "runtime/cpu_backend.h"
#include "runtime/error.h"

namespace tiller {

namespace {

constexpr std::size_t kFence = 64;  // keeps the alignment
constexpr int kFenceByte = 0xA5;

class SimtBackend final : public Backend {
 public:
  void* allocate(std::size_t bytes, Stream) override {
    if (bytes == 0) return nullptr;
    auto* block =
        static_cast<std::byte*>(cpu_backend(0).allocate(bytes + 2 * kFence, Stream{kCpu}));
    std::memset(block, kFenceByte, kFence);
    std::memset(block + kFence, 0xFF, bytes);
    std::memset(block + kFence + bytes, kFenceByte, kFence);
    live_ += bytes;
    ++allocations_;
    std::size_t peak = peak_;
    while (live_ > peak && !peak_.compare_exchange_weak(peak, live_)) {
    }
    return block + kFence;
  }

  void deallocate(void* data, std::size_t bytes, Stream) noexcept override {
    if (!data) return;
    auto* block = static_cast<std::byte*>(data) - kFence;
    for (std::size_t i = 0; i < kFence; ++i)
      if (block[i] != std::byte{kFenceByte} || block[kFence + bytes + i] != std::byte{kFenceByte}) {
        std::fprintf(stderr, "simt: a kernel wrote beside a block of %zu bytes\n", bytes);
        std::abort();  // memory of others is damaged: nothing that follows could be trusted
      }
    live_ -= bytes;
    cpu_backend(0).deallocate(block, bytes + 2 * kFence, Stream{kCpu});
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
  MemoryStats memory() const override { return {live_, peak_, 0, allocations_}; }
  void reset_peak() override { peak_ = live_.load(); }
  void release_cached() override { cpu_backend(0).release_cached(); }
  std::string describe() const override {
    return "the CUDA kernels on the processor, thread by thread, every mistake reported";
  }

 private:
  std::atomic<std::size_t> live_{0}, peak_{0};
  std::atomic<std::uint64_t> allocations_{0};
};

Backend& make(int) {
  static auto* const instance = new SimtBackend;  // outlives every static tensor
  return *instance;
}

}  // namespace

Backend& (*simt_backend())(int) { return make; }

}  // namespace tiller
