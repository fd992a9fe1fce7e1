#include "kernels/simt/shadow.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tiller::executor {

void Shadow::Free::operator()(std::byte* p) const { std::free(p); }

Shadow::Shadow(std::size_t shared_bytes, unsigned threads)
    : bytes_(shared_bytes), threads_(threads), pair_sync_(32), proxy_fence_(threads) {
  const std::size_t rounded = (shared_bytes + 1023) / 1024 * 1024 + 1024;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(1024, rounded)));
  if (!memory_) throw std::bad_alloc();
  cells_ = std::make_unique<Cell[]>((shared_bytes + kGrain - 1) / kGrain + 1);
}

void Shadow::begin_block() {
  std::memset(memory(), 0xFF, bytes_);  // NaN in every floating type
  tracking_ = false;
  clocks_.clear();
  sync_block();
  begin_ = clock_;
}

void Shadow::sync_block() {
  ++clock_;
  if (!clocks_.empty()) {
    std::vector<unsigned> all(threads_);
    for (unsigned t = 0; t < threads_; ++t) all[t] = t;
    merge_lanes(all);
  }
  full_sync_ = clock_;
}

void Shadow::track() {
  if (tracking_) return;
  tracking_ = true;
  clocks_.assign(threads_, Clock(threads_ + kMostBarriers, 0));
  warp_reads_.assign((bytes_ / kGrain + 1) * ((threads_ + 31) / 32), 0);
}

std::uint32_t Shadow::known(unsigned thread, unsigned other) const {
  if (other == thread) return clock_;
  std::uint32_t time = clocks_[thread][other];
  if (other >= threads_) return time;
  time = std::max({time, full_sync_, warp_sync_[thread / 32][other / 32]});
  return thread / 32 == other / 32 ? std::max(time, lanes_sync_[thread / 32]) : time;
}

// Threads that met know what any of them knew.
void Shadow::merge_lanes(const std::vector<unsigned>& threads) {
  Clock all(threads_ + kMostBarriers, 0);
  for (const unsigned t : threads)
    for (unsigned other = 0; other < all.size(); ++other)
      all[other] = std::max(all[other], known(t, other));
  for (const unsigned t : threads) clocks_[t] = all;
}

void Shadow::release(Clock& to, unsigned thread) {
  to.resize(threads_ + kMostBarriers, 0);
  ++clock_;
  for (unsigned other = 0; other < to.size(); ++other)
    to[other] = std::max(to[other], known(thread, other));
}

void Shadow::acquire(const Clock& from, unsigned thread) {
  Clock& own = clocks_[thread];
  for (std::size_t i = 0; i < from.size(); ++i) own[i] = std::max(own[i], from[i]);
}

void Shadow::engine_done(Clock& to, std::size_t barrier) {
  to.resize(threads_ + kMostBarriers, 0);
  to[threads_ + barrier] = ++clock_;
}

bool Shadow::ordered_by_clock(unsigned thread, std::uint16_t other, std::uint32_t time) const {
  if (!tracking_) return false;
  if (other >= kEngine) return known(thread, threads_ + other - kEngine) > time;
  if (other < kWarpmates) return known(thread, other) > time;
  if (other >= kMany) return false;
  const unsigned first = (other - kWarpmates) * 32u;
  for (unsigned t = first; t < first + 32 && t < threads_; ++t)
    if (known(thread, t) <= time) return false;
  return true;
}

// One reader is looked at by itself; of several, each warp's last read. A warp's collective is over
// for all its lanes when it is for one.
bool Shadow::readers_are_done(const Cell& cell, unsigned thread) const {
  if (ordered(thread, cell.reader, cell.read)) return true;
  if (!tracking_ || cell.reader < kWarpmates) return false;
  const std::size_t warps = (threads_ + 31) / 32;
  const std::size_t at = static_cast<std::size_t>(&cell - cells_.get()) * warps;
  for (std::size_t warp = 0; warp < warps; ++warp) {
    const std::uint32_t time = warp_reads_[at + warp];
    bool done = time < begin_;
    for (unsigned t = static_cast<unsigned>(warp) * 32;
         !done && t < threads_ && t < (warp + 1) * 32; ++t)
      done = known(thread, t) > time;
    if (!done) return false;
  }
  return true;
}

void Shadow::sync_warps(const std::vector<unsigned>& warps) {
  ++clock_;
  if (tracking_) {
    std::vector<unsigned> threads;
    for (const unsigned warp : warps)
      for (unsigned t = warp * 32; t < (warp + 1) * 32 && t < threads_; ++t) threads.push_back(t);
    merge_lanes(threads);
  }
  for (const unsigned a : warps)
    for (const unsigned b : warps) warp_sync_[a][b] = clock_;
}

void Shadow::sync_lanes(unsigned warp, unsigned mask) {
  ++clock_;
  if (tracking_) {
    std::vector<unsigned> threads;
    for (unsigned lane = 0; lane < 32; ++lane)
      if (mask >> lane & 1u) threads.push_back(warp * 32 + lane);
    merge_lanes(threads);
  }
  if (mask == 0xFFFFFFFFu) {
    lanes_sync_[warp] = clock_;
    return;
  }
  std::unique_ptr<LaneTimes>& times = pair_sync_[warp];
  if (!times) times = std::make_unique<LaneTimes>();
  for (unsigned a = 0; a < 32; ++a)
    for (unsigned b = 0; b < 32; ++b)
      if ((mask >> a & 1u) && (mask >> b & 1u)) (*times)[a][b] = clock_;
}

bool Shadow::ordered_in_part(unsigned thread, std::uint16_t other, std::uint32_t time) const {
  if (other == thread || other == kNobody || ordered_by_clock(thread, other, time)) return true;
  if (other >= kMany) return false;
  const unsigned warp = thread / 32;
  const unsigned other_warp = other >= kWarpmates ? other - kWarpmates : other / 32u;
  if (warp_sync_[warp][other_warp] > time) return true;
  if (warp != other_warp) return false;
  if (lanes_sync_[warp] > time) return true;
  const std::unique_ptr<LaneTimes>& times = pair_sync_[warp];
  return other < kWarpmates && times && (*times)[thread % 32][other % 32] > time;
}

void Shadow::check_against_writer(const Cell& cell, const void* p, unsigned thread, Where where,
                                  const char* verb) const {
  const auto byte = static_cast<std::size_t>(static_cast<const std::byte*>(p) - memory());
  if (cell.writer >= kEngine && cell.writer != kNobody &&
      (cell.in_flight || !ordered(thread, cell.writer, cell.written)))
    fault(where,
          "shared byte %zu (of the access at byte %zu) %s, but nobody here has waited for the TMA "
          "copy issued at line %u%s: a wait for its mbarrier is missing or has the wrong parity",
          offset(cell), byte, verb, unsigned{cell.writer_line},
          cell.in_flight ? ", which is in flight" : "");
  if (cell.in_flight)
    fault(where,
          "shared byte %zu (of the access at byte %zu) %s while the cp.async that thread %u issued "
          "at line %u is in flight: its wait_group is missing",
          offset(cell), byte, verb, unsigned{cell.writer}, unsigned{cell.writer_line});
  if (!ordered(thread, cell.writer, cell.written))
    fault(where,
          "race: shared byte %zu (of the access at byte %zu) %s, but thread %u wrote it at line %u "
          "with no barrier between",
          offset(cell), byte, verb, unsigned{cell.writer}, unsigned{cell.writer_line});
}

void Shadow::check_against_readers(const Cell& cell, const void* p, unsigned thread,
                                   Where where) const {
  if (cell.read < begin_ || readers_are_done(cell, thread)) return;
  const auto byte = static_cast<std::size_t>(static_cast<const std::byte*>(p) - memory());
  const bool one = cell.reader < kWarpmates;
  fault(where,
        "race: shared byte %zu (of the access at byte %zu) written, but %s %u read it at line %u "
        "with no barrier between",
        offset(cell), byte,
        one                   ? "thread"
        : cell.reader < kMany ? "several threads of warp"
                              : "several warps, of",
        one                   ? unsigned{cell.reader}
        : cell.reader < kMany ? unsigned{cell.reader} - kWarpmates
                              : 32u,
        unsigned{cell.reader_line});
}

void Shadow::read(const void* p, std::size_t n, unsigned thread, Where where) {
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell) {
    if (cell->written < begin_) {
      fault(where, "shared byte %zu is read, but nobody has written it in this block",
            offset(*cell));
    }
    check_against_writer(*cell, p, thread, where, "read");
    if (cell->read < begin_ || cell->reader == thread ||
        ordered(thread, cell->reader, cell->read)) {
      cell->reader = static_cast<std::uint16_t>(thread);
    } else {  // an earlier reader that a writer must still wait for
      const unsigned warp = thread / 32;
      const unsigned reader = cell->reader;
      const bool mates =
          reader < kMany && (reader < kWarpmates ? reader / 32 : reader - kWarpmates) == warp;
      cell->reader = static_cast<std::uint16_t>(mates ? kWarpmates + warp : unsigned{kMany});
    }
    cell->read = clock_;
    if (tracking_)
      warp_reads_[static_cast<std::size_t>(cell - cells_.get()) * ((threads_ + 31) / 32) +
                  thread / 32] = clock_;
    cell->reader_line = static_cast<std::uint16_t>(where.line) & 0x3FFFu;
  }
}

void Shadow::write(const void* p, std::size_t n, unsigned thread, Where where) {
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell) {
    if (cell->written >= begin_) check_against_writer(*cell, p, thread, where, "written");
    check_against_readers(*cell, p, thread, where);
    cell->written = clock_;
    cell->writer = static_cast<std::uint16_t>(thread);
    cell->writer_line = static_cast<std::uint16_t>(where.line);
    cell->in_flight = cell->by_atomic = 0;
  }
}

void Shadow::atomic(const void* p, std::size_t n, unsigned thread, Where where) {
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell) {
    if (cell->written < begin_)
      fault(where, "shared byte %zu is added to, but nobody has written it in this block",
            offset(*cell));
    if (!cell->by_atomic) check_against_writer(*cell, p, thread, where, "added to");
    check_against_readers(*cell, p, thread, where);
    cell->written = clock_;
    cell->writer = static_cast<std::uint16_t>(thread);
    cell->writer_line = static_cast<std::uint16_t>(where.line);
    cell->by_atomic = 1;
  }
}

void Shadow::begin_copy(const void* p, std::size_t n, unsigned thread, Where where) {
  write(p, n, thread, where);
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell) cell->in_flight = 1;
}

void Shadow::end_copy(const void* p, std::size_t n, unsigned thread, Where where) {
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell) {
    cell->written = clock_;
    cell->writer = static_cast<std::uint16_t>(thread);
    cell->writer_line = static_cast<std::uint16_t>(where.line);
    cell->in_flight = 0;
  }
}

void Shadow::begin_engine_copy(const void* p, std::size_t n, std::size_t barrier, unsigned thread,
                               Where where) {
  begin_copy(p, n, thread, where);
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell)
    cell->writer = static_cast<std::uint16_t>(kEngine + barrier);
}

void Shadow::end_engine_copy(const void* p, std::size_t n, std::size_t barrier, Where where) {
  end_copy(p, n, 0, where);
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell)
    cell->writer = static_cast<std::uint16_t>(kEngine + barrier);
}

void Shadow::read_by_engine(const void* p, std::size_t n, unsigned thread, Where where) {
  read(p, n, thread, where);
  Cell* const first = cells_of(p);
  for (Cell* cell = first; cell < first + (n + kGrain - 1) / kGrain; ++cell) {
    // It is the warp that reads, whichever lane came last.
    if (cell->reader < kWarpmates)
      cell->reader = static_cast<std::uint16_t>(kWarpmates + thread / 32);
    if (cell->writer < kWarpmates && proxy_fence_[cell->writer] <= cell->written)
      fault(where,
            "shared byte %zu is read by wgmma, but thread %u, which wrote it at line %u, called no "
            "fence_proxy_async() behind that",
            offset(*cell), unsigned{cell->writer}, unsigned{cell->writer_line});
  }
}

}  // namespace tiller::executor
