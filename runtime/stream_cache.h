#pragma once
// The policy of an accelerator's allocator. Where segments come from and how one learns that a
// stream has reached a point is asked of a SegmentSource, so that the policy is the same on a GPU
// (cudaMalloc and events), on simt (the heap) and in its tests.
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/backend.h"

namespace tiller {

/// What a cache asks of a device.
class SegmentSource {
 public:
  virtual ~SegmentSource() = default;
  /// A new segment, aligned to 512 bytes; null when the device has no memory left.
  virtual void* reserve(std::size_t bytes) = 0;
  virtual void release(void* segment, std::size_t bytes) noexcept = 0;
  /// A mark behind all the work that a stream was given so far.
  virtual void* mark(void* stream) = 0;
  virtual bool reached(void* mark) = 0;
  /// Lets the host wait for a mark.
  virtual void await(void* mark) = 0;
  virtual void forget(void* mark) noexcept = 0;
};

/// A caching allocator in stream order. A freed block is kept, and handed out again to later work
/// on the stream that it was allocated for: such work runs behind the work that used the block, so
/// nobody waits. Blocks are cut from larger segments and grow together again when neighbours are
/// free. All calls may come from any thread.
///
/// - Another stream that works on a block is named with used_on(); after its deallocation the block
///   waits until that stream has come so far.
/// - A captured graph keeps the addresses that it was captured with, so what is allocated meanwhile
///   comes from a private pool: nobody else gets those blocks until the graph is gone
///   (drop_pool()). Within the capture they are reused as ever.
/// - When the source has no memory left, the cache waits for blocks in use on other streams, then
///   gives every unused segment back and asks again, then throws Error(out_of_memory).
class StreamCache {
 public:
  using Pool = std::uint64_t;  ///< 0: the one that all share

  /// `device` is for messages. The source must outlive the cache.
  StreamCache(SegmentSource& source, std::string device);
  ~StreamCache();
  StreamCache(const StreamCache&) = delete;
  StreamCache& operator=(const StreamCache&) = delete;

  /// At least `bytes` > 0 bytes, aligned to 512. Throws Error(out_of_memory).
  void* allocate(std::size_t bytes, void* stream);
  void deallocate(void* data) noexcept;
  /// Tells that `stream`, too, was given work on this block.
  void used_on(void* data, void* stream);

  /// From now on allocations for `stream` come from a new private pool.
  Pool begin_capture(void* stream);
  /// A stream that the capture has forked to.
  void join_capture(Pool pool, void* stream);
  void end_capture(Pool pool);
  /// The pool of the capture that the stream is in, or 0.
  Pool capture_of(void* stream) const;
  /// The graph is gone: its pool's memory goes back as soon as no tensor stands in it.
  void drop_pool(Pool pool);

  /// Gives unused segments back, except those of graphs.
  void release_cached();
  MemoryStats memory() const;
  void reset_peak();

 private:
  struct Block;
  struct BySize {
    bool operator()(const Block* a, const Block* b) const;
  };
  struct FreeLists {
    std::array<std::set<Block*, BySize>, 2> of;  // large, small
  };
  struct Waiting {  // deallocated, but still worked on
    Block* block;
    std::vector<void*> marks;
  };
  Block* find(Pool pool, std::size_t size, void* stream);
  Block* grow(Pool pool, std::size_t size, void* stream);
  void split(Block* block, std::size_t size);
  void give(Block* block);  // to its free list, grown together with free neighbours
  void wait_for_streams(Block* block);
  void collect(bool wait);
  void release_unused();
  void release_segment(Block* block);
  std::size_t held_by_graphs() const;
  [[noreturn]] void refuse(std::size_t bytes) const;

  SegmentSource& source_;
  std::string device_;
  mutable std::mutex mutex_;
  std::map<void*, std::unique_ptr<Block>> blocks_;  // by address
  std::map<Pool, FreeLists> free_;
  std::set<Pool> dropped_;
  std::map<void*, Pool> capturing_;  // by stream
  std::list<Waiting> waiting_;
  std::vector<Block*> parked_;  // deallocated within a capture that works on them elsewhere
  Pool last_pool_ = 0;
  MemoryStats stats_;
};

}  // namespace tiller
