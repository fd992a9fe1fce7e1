#include "kernels/simt/mbarrier.h"

#include <cstring>

#include "kernels/simt/block.h"
#include "runtime/error.h"

namespace tiller::executor {

namespace {

std::size_t offset_of(const void* at) {
  const std::byte* base = Block::running()->shadow().memory();
  return static_cast<std::size_t>(static_cast<const std::byte*>(at) - base);
}

}  // namespace

std::size_t Mbarriers::find(const void* at, const char* what, Where where) {
  for (std::size_t i = 0; i < list_.size(); ++i) {
    if (list_[i].at != at) continue;
    // Its eight bytes were written by mbarrier_init: whoever uses it must have met that thread.
    Block::running()->shadow().read(at, 8, Block::thread().linear, where);
    if (!list_[i].fenced)
      fault(where, "%s: nobody called fence_barrier_init() after mbarrier_init() at line %d", what,
            list_[i].where.line);
    return i;
  }
  fault(where, "%s: there is no mbarrier at shared byte %zu; mbarrier_init() is missing", what,
        offset_of(at));
}

void Mbarriers::add(const void* at, unsigned count, Where where) {
  if (list_.size() == kMost) fault(where, "mbarrier_init: more than %zu barriers", kMost);
  for (const Mbarrier& other : list_)
    if (other.at == at)
      fault(where, "mbarrier_init: the one at shared byte %zu was initialised at line %d",
            offset_of(at), other.where.line);
  Mbarrier barrier{};
  barrier.at = at;
  barrier.count = barrier.awaited = count;
  barrier.where = where;
  list_.push_back(std::move(barrier));
}

void Mbarriers::fence() {
  for (Mbarrier& barrier : list_) barrier.fenced = true;
}

void Mbarriers::complete_bytes(std::size_t i, unsigned bytes) {
  Mbarrier& barrier = list_[i];
  Block::running()->shadow().engine_done(barrier.arriving, i);
  barrier.bytes -= bytes;
  advance(barrier);
}

void Mbarriers::advance(Mbarrier& barrier) {
  if (barrier.awaited > 0 || barrier.bytes != 0) return;
  barrier.parity ^= 1u;
  barrier.awaited = barrier.count;
  barrier.completed = barrier.arriving;
  for (Thread* thread : barrier.sleepers) Block::running()->wake(*thread);
  barrier.sleepers.clear();
}

void Mbarriers::check_done() const {
  for (const Mbarrier& barrier : list_)
    if (barrier.bytes != 0)
      fault(
          barrier.where,
          "the block ended, and TMA copies brought the mbarrier at shared byte %zu %ld bytes that "
          "no arrival expected",
          offset_of(barrier.at), -barrier.bytes);
}

std::string Mbarriers::describe() const {
  std::string text;
  for (const Mbarrier& barrier : list_)
    if (!barrier.sleepers.empty())
      text += fmt::format(
          "; the mbarrier at shared byte {} (initialised at line {}) is in the phase of parity {} "
          "and awaits {} of {} arrivals and {} bytes",
          offset_of(barrier.at), barrier.where.line, barrier.parity, barrier.awaited, barrier.count,
          barrier.bytes);
  return text;
}

void mbarrier_init(void* at, unsigned count, Where where) {
  Block& block = *Block::running();
  if (count == 0) fault(where, "mbarrier_init: a barrier for no arrival");
  if (reinterpret_cast<std::uintptr_t>(at) % 8 != 0)
    fault(where, "mbarrier_init: shared byte %zu is not a multiple of 8", offset_of(at));
  block.shadow().track();
  block.shadow().write(at, 8, Block::thread().linear, where);
  std::memset(at, 0, 8);
  block.mbarriers().add(at, count, where);
}

void fence_barrier_init() { Block::running()->mbarriers().fence(); }

void mbarrier_arrive(void* at, unsigned bytes, Where where) {
  Block& block = *Block::running();
  Mbarrier& barrier = block.mbarriers()[block.mbarriers().find(at, "mbarrier_arrive", where)];
  if (barrier.awaited == 0)
    fault(where, "mbarrier_arrive: more than the %u arrivals of a phase (initialised at line %d)",
          barrier.count, barrier.where.line);
  block.shadow().release(barrier.arriving, Block::thread().linear);
  barrier.bytes += bytes;
  --barrier.awaited;
  block.mbarriers().advance(barrier);
}

void mbarrier_wait(void* at, unsigned parity, Where where) {
  Block& block = *Block::running();
  const std::size_t i = block.mbarriers().find(at, "mbarrier_wait", where);
  if (parity > 1) fault(where, "mbarrier_wait: the parity is 0 or 1, not %u", parity);
  while (block.mbarriers()[i].parity == parity) {
    block.mbarriers()[i].sleepers.push_back(&Block::thread());
    block.sleep("mbarrier_wait", where);
  }
  block.shadow().acquire(block.mbarriers()[i].completed, Block::thread().linear);
}

}  // namespace tiller::executor
