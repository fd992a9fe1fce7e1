#include "kernels/simt/shadow.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tiller::executor {

void Shadow::Free::operator()(std::byte* p) const { std::free(p); }

Shadow::Shadow(std::size_t shared_bytes) : bytes_(shared_bytes), pair_sync_(32) {
  const std::size_t rounded = (shared_bytes + 1023) / 1024 * 1024 + 1024;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(1024, rounded)));
  if (!memory_) throw std::bad_alloc();
  cells_ = std::make_unique<Cell[]>((shared_bytes + kGrain - 1) / kGrain + 1);
}

void Shadow::begin_block() {
  std::memset(memory(), 0xFF, bytes_);  // NaN in every floating type
  sync_block();
  begin_ = clock_;
}

void Shadow::sync_warps(const std::vector<unsigned>& warps) {
  ++clock_;
  for (const unsigned a : warps)
    for (const unsigned b : warps) warp_sync_[a][b] = clock_;
}

void Shadow::sync_lanes(unsigned warp, unsigned mask) {
  ++clock_;
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
  if (other == thread || other == kNobody) return true;
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
  if (cell.read < begin_ || ordered(thread, cell.reader, cell.read)) return;
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

}  // namespace tiller::executor
