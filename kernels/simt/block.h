#pragma once
// One running block: its threads, and the gates where they meet. Everything that threads do
// together (a barrier, a shuffle, a matrix product of a warp) is one primitive: a thread comes to a
// gate with its argument; the last one that is awaited does the work for all, and all go on. Gates
// belong to a warp or to the block, so warps may diverge, as they may on the hardware since Volta.
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <vector>

#include "kernels/simt/async_copy.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/mbarrier.h"
#include "kernels/simt/shadow.h"
#include "kernels/simt/tma.h"
#include "kernels/simt/wgmma.h"
#include "kernels/simt/where.h"
#include "runtime/simt_order.h"

namespace tiller::executor {

inline constexpr unsigned kWarp = 32;
inline constexpr unsigned kMaxThreads = 1024;
inline constexpr unsigned kFullMask = 0xFFFFFFFFu;

/// CUDA's dim3.
struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3() = default;
  constexpr Dim3(unsigned x_size, unsigned y_size = 1, unsigned z_size = 1)
      : x(x_size), y(y_size), z(z_size) {}
  constexpr std::uint64_t count() const { return std::uint64_t{x} * y * z; }
};

// NOLINTBEGIN(readability-identifier-naming): CUDA's own names.
inline thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;
// NOLINTEND(readability-identifier-naming)

enum class State : std::uint8_t { ready, waiting, done };

/// A CUDA thread.
struct Thread {
  Fiber fiber;
  Dim3 index;
  unsigned linear = 0, lane = 0, warp = 0;
  State state = State::ready;
  const char* waits_in = "";  ///< the collective, while it waits
  Where where;
  AsyncQueue copies;  ///< its cp.async groups in flight
};

/// Lanes of one warp on their way through one collective.
struct WarpGate {
  unsigned mask = 0;     ///< the lanes that were named
  unsigned arrived = 0;  ///< the lanes that came; 0: nobody is here
  const char* what = "";
  Where where;
  std::array<void*, kWarp> argument;  ///< by lane
  void (*work)(WarpGate&) = nullptr;
  unsigned first_lane() const { return static_cast<unsigned>(__builtin_ctz(arrived)); }
};

/// Threads on their way through a barrier. Barrier 0 is __syncthreads().
struct BlockGate {
  unsigned needed = 0;  ///< threads; 0: all that have not returned
  const char* what = "";
  Where where;
  std::vector<Thread*> arrived;
};

/// What launch() was asked for.
struct LaunchSpec {
  const char* kernel;
  Dim3 grid, block;
  std::size_t shared_bytes;
};

class Block {
 public:
  static constexpr int kBarriers = 16;

  /// Runs every block of the grid. `body` is the kernel with its parameters.
  static void run_grid(const LaunchSpec& spec, void (*body)(const void*), const void* parameters);

  /// The block and thread that run now; null outside kernels.
  static Block* running() { return running_; }
  static Thread& thread() { return *running_->current_; }

  /// Waits for the lanes of `mask`; then `work`, which sees all arguments, runs once.
  void meet_warp(unsigned mask, const char* what, Where where, void* argument,
                 void (*work)(WarpGate&));
  /// Waits for `needed` threads (0: all) at a barrier.
  void meet_block(int barrier, unsigned needed, const char* what, Where where);

  /// The running thread waits until someone wakes it.
  void sleep(const char* what, Where where) { wait(what, where); }
  void wake(Thread& thread) { push_ready(thread); }

  Shadow& shadow() { return shadow_; }
  Mbarriers& mbarriers() { return mbarriers_; }
  Tma& tma() { return tma_; }
  WarpProducts& products(unsigned warp) { return products_[warp]; }
  Thread& lane_of(unsigned warp, unsigned lane) { return threads_[warp * kWarp + lane]; }
  unsigned live_lanes(unsigned warp) const { return live_lanes_[warp]; }
  const LaunchSpec& spec() const { return *spec_; }
  Random& random() { return random_; }

  /// "kernel conv2d, block (0,0,0), thread 7, file:line (order: seed 1)".
  std::string context(Where where) const;

 private:
  explicit Block(const LaunchSpec& spec);
  void run(Dim3 index);
  void dispatch();
  void wait(const char* what, Where where);
  void finish_warp(WarpGate& gate, unsigned warp);
  void finish_block(BlockGate& gate);
  void leave_current();
  void finish_engines();
  [[noreturn]] void report_deadlock() const;
  static void thread_main();

  // Threads that may run. In a fixed order it is a queue, else each pop draws one.
  void push_ready(Thread& thread);
  Thread* pop_ready();
  // Lets copies of the TMA engine arrive.
  void run_engine();

  static inline thread_local Block* running_ = nullptr;

  const LaunchSpec* spec_ = nullptr;
  void (*body_)(const void*) = nullptr;
  const void* parameters_ = nullptr;
  Order order_;
  Random random_;
  Shadow shadow_;
  std::vector<Thread> threads_;
  std::vector<unsigned> live_lanes_;               // by warp
  std::vector<std::vector<WarpGate>> warp_gates_;  // by warp; more than one only for partial masks
  std::array<BlockGate, kBarriers> barriers_;
  Mbarriers mbarriers_;
  Tma tma_;
  std::vector<WarpProducts> products_;  // by warp
  std::vector<Thread*> ready_;          // a ring
  unsigned ready_head_ = 0, ready_count_ = 0;
  unsigned live_ = 0;
  Thread* current_ = nullptr;
  Fiber main_;
  std::exception_ptr error_;
};

}  // namespace tiller::executor
