#pragma once
// What is known about every two bytes of shared memory: who wrote them last, who read them since,
// and when. Time is a counter that each synchronisation moves. An access is a race unless a barrier
// (or __syncwarp within a warp) that both threads went through lies between.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/simt/where.h"

namespace tiller::executor {

/// For each thread of the block, and behind them for each mbarrier's copies: until when the owner
/// of this clock knows what they did.
using Clock = std::vector<std::uint32_t>;

class Shadow {
 public:
  Shadow(std::size_t shared_bytes, unsigned threads);

  std::byte* memory() const { return memory_.get(); }
  std::size_t bytes() const { return bytes_; }
  bool contains(const void* p, std::size_t n) const {
    const auto* at = static_cast<const std::byte*>(p);
    return at >= memory() && at + n <= memory() + bytes_;
  }

  /// A new block: nothing is written, everything holds NaN.
  void begin_block();

  void read(const void* p, std::size_t n, unsigned thread, Where where);
  void write(const void* p, std::size_t n, unsigned thread, Where where);
  /// A read and a write that other atomics do not disturb.
  void atomic(const void* p, std::size_t n, unsigned thread, Where where);
  /// A cp.async was issued: as a write, and the bytes are not there yet.
  void begin_copy(const void* p, std::size_t n, unsigned thread, Where where);
  /// It is done, as seen by the thread that issued it.
  void end_copy(const void* p, std::size_t n, unsigned thread, Where where);

  // TMA and wgmma, the engines that work beside the threads. A TMA copy is a write of its mbarrier:
  // only who has waited for that may read it.

  /// A TMA copy was issued: as a write by `thread`, and the bytes are not there yet.
  void begin_engine_copy(const void* p, std::size_t n, std::size_t barrier, unsigned thread,
                         Where where);
  /// It is done, for those who will wait for the barrier.
  void end_engine_copy(const void* p, std::size_t n, std::size_t barrier, Where where);
  /// wgmma reads: as a read, and what threads wrote must have passed their fence_proxy_async().
  void read_by_engine(const void* p, std::size_t n, unsigned thread, Where where);
  void fence_proxy(unsigned thread) { proxy_fence_[thread] = ++clock_; }

  // mbarriers pass knowledge on from those who arrive to those who wait. Once a block has one, every
  // thread's knowledge is kept as a vector clock.

  void track();
  /// Thread arrives: the barrier knows what it knows, and what it did.
  void release(Clock& to, unsigned thread);
  void acquire(const Clock& from, unsigned thread);
  /// A copy of this barrier is done.
  void engine_done(Clock& to, std::size_t barrier);

  void sync_block();
  /// Some warps met at a named barrier.
  void sync_warps(const std::vector<unsigned>& warps);
  void sync_lanes(unsigned warp, unsigned mask);

 private:
  static constexpr std::size_t kGrain = 2;            // bytes of a cell: no element is smaller
  static constexpr std::uint16_t kNobody = 0xFFFF;    // else a thread below 1024
  static constexpr std::uint16_t kWarpmates = 0x400;  // + warp: several threads of that warp
  static constexpr std::uint16_t kMany = 0x800;       // threads of several warps
  static constexpr std::uint16_t kEngine = 0x1000;    // + mbarrier: a TMA copy
  struct Cell {
    std::uint32_t written = 0, read = 0;  // when; before begin_ means not in this block
    std::uint16_t writer = kNobody, reader = kNobody;
    std::uint16_t writer_line = 0, reader_line : 14 = 0;
    std::uint16_t in_flight : 1 = 0, by_atomic : 1 = 0;
  };
  using LaneTimes = std::array<std::array<std::uint32_t, 32>, 32>;

  Cell* cells_of(const void* p) {
    return cells_.get() +
           static_cast<std::size_t>(static_cast<const std::byte*>(p) - memory()) / kGrain;
  }
  // Whether what `other` did at `time` is visible to `thread` now.
  bool ordered(unsigned thread, std::uint16_t other, std::uint32_t time) const {
    return (full_sync_ > time && other < kEngine) || ordered_in_part(thread, other, time);
  }
  bool ordered_by_clock(unsigned thread, std::uint16_t other, std::uint32_t time) const;
  bool readers_are_done(const Cell& cell, unsigned thread) const;
  // Until when `thread` knows what entry `other` of a clock did.
  std::uint32_t known(unsigned thread, unsigned other) const;
  void merge_lanes(const std::vector<unsigned>& threads);
  bool ordered_in_part(unsigned thread, std::uint16_t other, std::uint32_t time) const;
  void check_against_writer(const Cell& cell, const void* p, unsigned thread, Where where,
                            const char* verb) const;
  void check_against_readers(const Cell& cell, const void* p, unsigned thread, Where where) const;
  std::size_t offset(const Cell& cell) const {
    return static_cast<std::size_t>(&cell - cells_.get()) * kGrain;
  }

  struct Free {
    void operator()(std::byte* p) const;
  };
  static constexpr unsigned kMostBarriers = 64;

  std::size_t bytes_;
  unsigned threads_;
  std::unique_ptr<std::byte, Free> memory_;
  std::unique_ptr<Cell[]> cells_;
  std::uint32_t clock_ = 1, begin_ = 1, full_sync_ = 0;
  std::array<std::array<std::uint32_t, 32>, 32> warp_sync_{};  // of two warps at a named barrier
  std::array<std::uint32_t, 32> lanes_sync_{};                 // of a whole warp at __syncwarp
  std::vector<std::unique_ptr<LaneTimes>> pair_sync_;          // of two lanes, for partial masks
  bool tracking_ = false;
  std::vector<Clock> clocks_;               // by thread; empty: nothing beside the above
  std::vector<std::uint32_t> warp_reads_;   // [cell][warp]: the last read, while tracking
  std::vector<std::uint32_t> proxy_fence_;  // by thread
};

}  // namespace tiller::executor
