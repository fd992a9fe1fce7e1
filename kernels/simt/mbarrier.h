#pragma once
// mbarrier: a barrier in shared memory that counts arrivals and bytes of asynchronous copies. A
// phase is complete when every awaited thread has arrived and every expected byte is there; then
// the parity flips and the next phase begins. (PTX ISA, "mbarrier".)
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/shadow.h"
#include "kernels/simt/where.h"

namespace tiller::executor {

struct Thread;

/// One barrier, and who sleeps at it.
struct Mbarrier {
  const void* at;  ///< its eight bytes
  unsigned count;  ///< arrivals of a phase
  unsigned awaited;
  long bytes = 0;       ///< expected and not yet there
  unsigned parity = 0;  ///< of the phase that is under way
  bool fenced = false;  ///< fence_barrier_init() has made it known to the engine of copies
  Where where;          ///< of its initialisation
  Clock arriving;       ///< what those who have come to this phase know
  Clock completed;      ///< what the last complete phase tells those who wait for it
  std::vector<Thread*> sleepers;
};

/// The barriers of a block.
class Mbarriers {
 public:
  static constexpr std::size_t kMost = 64;

  void clear() { list_.clear(); }
  bool empty() const { return list_.empty(); }
  /// Its place in the list; faults unless it is initialised, known to the engine and to this thread.
  std::size_t find(const void* at, const char* what, Where where);
  Mbarrier& operator[](std::size_t i) { return list_[i]; }
  void add(const void* at, unsigned count, Where where);
  void fence();
  /// Bytes of a copy have arrived.
  void complete_bytes(std::size_t i, unsigned bytes);
  /// Flips the phase if it is complete.
  void advance(Mbarrier& barrier);
  /// Faults if copies brought bytes that no arrival expected, or the other way round.
  void check_done() const;
  /// What barriers with sleepers wait for, for the report of a deadlock.
  std::string describe() const;

 private:
  std::vector<Mbarrier> list_;
};

void mbarrier_init(void* at, unsigned count, Where where);
void fence_barrier_init();
/// mbarrier.arrive, with expect_tx of `bytes` before it.
void mbarrier_arrive(void* at, unsigned bytes, Where where);
/// Sleeps until the phase of this parity is complete: mbarrier.try_wait.parity in a loop.
void mbarrier_wait(void* at, unsigned parity, Where where);

}  // namespace tiller::executor
