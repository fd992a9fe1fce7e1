// Memory of the device simt: host memory under the policy of a GPU's allocator (stream_cache.h),
// with two habits of a debugger. Fresh bytes are NaN, so an element that no kernel wrote is seen. A
// fence of known bytes stands on both sides of each block and is checked when the block is given
// back, so a kernel that writes beside its tensor is found.
//
// Streams are numbers: work is done when its call returns, in whatever order it came.
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "runtime/accelerators.h"
#include "runtime/error.h"
#include "runtime/simt_graph.h"
#include "runtime/stream_cache.h"

namespace tiller {

namespace {

constexpr std::size_t kFence = 64;  // keeps the alignment
constexpr int kFenceByte = 0xA5;
constexpr std::size_t kAlignment = 512;

using Work = std::vector<std::function<void()>>;
thread_local Work* capture = nullptr;

class Heap final : public SegmentSource {
 public:
  void* reserve(std::size_t bytes) override { return std::aligned_alloc(kAlignment, bytes); }
  void release(void* segment, std::size_t) noexcept override { std::free(segment); }
  void* mark(void*) override { return nullptr; }
  bool reached(void*) override { return true; }
  void await(void*) override {}
  void forget(void*) noexcept override {}
};

class SimtGraph final : public Graph {
 public:
  SimtGraph(Work work, StreamCache& cache, StreamCache::Pool pool)
      : work_(std::move(work)), cache_(cache), pool_(pool) {}
  ~SimtGraph() override { cache_.drop_pool(pool_); }
  SimtGraph(const SimtGraph&) = delete;
  SimtGraph& operator=(const SimtGraph&) = delete;
  void replay(Stream) override {
    for (const auto& work : work_) work();
  }
  std::size_t nodes() const override { return work_.size(); }

 private:
  Work work_;
  StreamCache& cache_;
  StreamCache::Pool pool_;
};

class SimtBackend final : public Backend {
 public:
  void* allocate(std::size_t bytes, Stream stream) override {
    if (bytes == 0) return nullptr;
    auto* block = static_cast<std::byte*>(cache_.allocate(bytes + 2 * kFence, stream.handle));
    std::memset(block, kFenceByte, kFence);
    std::memset(block + kFence, 0xFF, bytes);
    std::memset(block + kFence + bytes, kFenceByte, kFence);
    live_ += bytes;
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
    cache_.deallocate(block);
  }

  void copy_from_host(void* to, const void* from, std::size_t bytes, Stream) override {
    waits("a copy from the host");
    std::memcpy(to, from, bytes);
  }
  void copy_to_host(void* to, const void* from, std::size_t bytes, Stream) override {
    waits("a copy to the host");
    std::memcpy(to, from, bytes);
  }
  void copy(void* to, const void* from, std::size_t bytes, Stream) override {
    run([=] { std::memmove(to, from, bytes); });
  }
  void fill(void* to, int byte, std::size_t bytes, Stream) override {
    run([=] { std::memset(to, byte, bytes); });
  }
  void synchronize(Stream) override { waits("waiting for the device"); }
  MemoryStats memory() const override {  // what tensors have, without fences and rounding
    MemoryStats stats = cache_.memory();
    stats.live = live_;
    stats.peak = peak_;
    return stats;
  }
  void reset_peak() override { peak_ = live_.load(); }
  void release_cached() override { cache_.release_cached(); }
  std::string describe() const override {
    return "the CUDA kernels on the processor, thread by thread, every mistake reported";
  }

  void* side_stream(int index) override { return &streams_.at(static_cast<std::size_t>(index)); }
  void order(Stream earlier, Stream later) override {
    const StreamCache::Pool pool = cache_.capture_of(earlier.handle);
    if (pool != 0 && cache_.capture_of(later.handle) == 0) cache_.join_capture(pool, later.handle);
  }
  bool captures() const override { return true; }
  void begin_capture(Stream stream) override {
    pool_ = cache_.begin_capture(stream.handle);
    capture = new Work;
  }
  std::unique_ptr<Graph> end_capture(Stream) override {
    const std::unique_ptr<Work> work(std::exchange(capture, nullptr));
    cache_.end_capture(pool_);
    return std::make_unique<SimtGraph>(std::move(*work), cache_, pool_);
  }
  void abandon_capture(Stream) noexcept override {
    delete std::exchange(capture, nullptr);
    cache_.end_capture(pool_);
    cache_.drop_pool(pool_);
  }
  std::uint64_t host_waits() const override { return host_waits_; }

 private:
  static void run(std::function<void()> work) {
    if (capture) return simt_record(std::move(work));
    work();
  }
  void waits(const char* what) {
    TILLER_CHECK(!capture, "simt: {} within a captured step: a replay could not repeat it", what);
    ++host_waits_;
  }

  Heap heap_;
  StreamCache cache_{heap_, "simt"};
  StreamCache::Pool pool_ = 0;
  std::array<char, 2> streams_{};
  std::atomic<std::size_t> live_{0}, peak_{0};
  std::atomic<std::uint64_t> host_waits_{0};
};

Backend& make(int) {
  static auto* const instance = new SimtBackend;  // outlives every static tensor
  return *instance;
}

}  // namespace

bool simt_capturing() { return capture != nullptr; }
void simt_record(std::function<void()> work) { capture->push_back(std::move(work)); }

Backend& (*simt_backend())(int) { return make; }

}  // namespace tiller
