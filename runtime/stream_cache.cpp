#include "runtime/stream_cache.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "runtime/error.h"

namespace tiller {

namespace {

constexpr std::size_t kQuantum = 512;
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kSmall = kMiB;             // up to here a block is cut from a small segment
constexpr std::size_t kSmallSegment = 2 * kMiB;  // of these, many; of the others, few
constexpr std::size_t kMediumSegment = 20 * kMiB;

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

std::size_t segment_size(std::size_t size) {
  if (size <= kSmall) return kSmallSegment;
  return size < kMediumSegment / 2 ? kMediumSegment : round_up(size, 2 * kMiB);
}

double gib(std::size_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

}  // namespace

struct StreamCache::Block {
  std::byte* data = nullptr;
  std::size_t size = 0;
  void* stream = nullptr;
  Pool pool = 0;
  bool small = false, free = false;
  Block *previous = nullptr, *next = nullptr;  // its neighbours in the segment
  std::vector<void*> users;                    // other streams
  bool whole() const { return !previous && !next; }
};

// The best fit is the smallest block that is large enough; among equals the lowest address, so that
// the same calls give the same addresses.
bool StreamCache::BySize::operator()(const Block* a, const Block* b) const {
  return std::make_tuple(a->stream, a->size, a->data) <
         std::make_tuple(b->stream, b->size, b->data);
}

StreamCache::StreamCache(SegmentSource& source, std::string device)
    : source_(source), device_(std::move(device)) {}

StreamCache::~StreamCache() {
  for (Waiting& entry : waiting_)
    for (void* mark : entry.marks) source_.forget(mark);
  // Blocks that tensors still use go with their segment: nothing outlives the device.
  for (auto& [address, block] : blocks_) {
    if (block->previous) continue;
    std::size_t bytes = 0;
    for (const Block* part = block.get(); part; part = part->next) bytes += part->size;
    source_.release(block->data, bytes);
  }
}

void* StreamCache::allocate(std::size_t bytes, void* stream) {
  const std::lock_guard lock(mutex_);
  if (bytes > std::size_t{1} << 46) refuse(bytes);
  const std::size_t size = round_up(std::max<std::size_t>(bytes, 1), kQuantum);
  const auto capture = capturing_.find(stream);
  const Pool pool = capture == capturing_.end() ? 0 : capture->second;
  // While anybody captures, no mark may be asked for: the driver would end the capture.
  const bool quiet = capturing_.empty();
  if (quiet) collect(false);
  Block* block = find(pool, size, stream);
  if (!block) block = grow(pool, size, stream);
  if (!block && quiet) {
    collect(true);
    block = find(pool, size, stream);
    if (!block) {
      release_unused();
      block = grow(pool, size, stream);
    }
  }
  if (!block) refuse(bytes);
  split(block, size);
  block->free = false;
  ++stats_.allocations;
  stats_.cached -= block->size;
  stats_.live += block->size;
  stats_.peak = std::max(stats_.peak, stats_.live);
  return block->data;
}

void StreamCache::deallocate(void* data) noexcept {
  if (!data) return;
  const std::lock_guard lock(mutex_);
  Block* block = blocks_.at(data).get();
  stats_.live -= block->size;
  stats_.cached += block->size;
  if (block->users.empty()) return give(block);
  if (!capturing_.empty()) return parked_.push_back(block);
  try {
    wait_for_streams(block);
  } catch (const Error&) {  // the program ends and the driver is gone: the block goes with it
  }
}

void StreamCache::used_on(void* data, void* stream) {
  const std::lock_guard lock(mutex_);
  Block* block = blocks_.at(data).get();
  if (stream == block->stream) return;
  std::vector<void*>& users = block->users;
  if (std::find(users.begin(), users.end(), stream) == users.end()) users.push_back(stream);
}

StreamCache::Pool StreamCache::begin_capture(void* stream) {
  const std::lock_guard lock(mutex_);
  TILLER_CHECK(!capturing_.contains(stream), "{}: the stream is being captured already", device_);
  return capturing_[stream] = ++last_pool_;
}

void StreamCache::join_capture(Pool pool, void* stream) {
  const std::lock_guard lock(mutex_);
  capturing_[stream] = pool;
}

void StreamCache::end_capture(Pool pool) {
  const std::lock_guard lock(mutex_);
  std::erase_if(capturing_, [pool](const auto& entry) { return entry.second == pool; });
  if (!capturing_.empty()) return;
  for (Block* block : std::exchange(parked_, {})) {
    // A private block goes to nobody but a graph's next capture, behind all that this one does.
    if (block->pool == 0) {
      wait_for_streams(block);
    } else {
      block->users.clear();
      give(block);
    }
  }
}

StreamCache::Pool StreamCache::capture_of(void* stream) const {
  const std::lock_guard lock(mutex_);
  const auto capture = capturing_.find(stream);
  return capture == capturing_.end() ? 0 : capture->second;
}

void StreamCache::drop_pool(Pool pool) {
  const std::lock_guard lock(mutex_);
  dropped_.insert(pool);
  if (capturing_.empty()) release_unused();
}

void StreamCache::release_cached() {
  const std::lock_guard lock(mutex_);
  if (!capturing_.empty()) return;
  collect(true);
  release_unused();
}

MemoryStats StreamCache::memory() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void StreamCache::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak = stats_.live;
}

StreamCache::Block* StreamCache::find(Pool pool, std::size_t size, void* stream) {
  std::set<Block*, BySize>& list = free_[pool].of[size <= kSmall ? 1 : 0];
  Block key;
  key.stream = stream;
  key.size = size;
  const auto found = list.lower_bound(&key);
  if (found == list.end() || (*found)->stream != stream) return nullptr;
  Block* block = *found;
  list.erase(found);
  return block;
}

StreamCache::Block* StreamCache::grow(Pool pool, std::size_t size, void* stream) {
  const std::size_t bytes = segment_size(size);
  void* data = source_.reserve(bytes);
  if (!data) return nullptr;
  auto block = std::make_unique<Block>();
  block->data = static_cast<std::byte*>(data);
  block->size = bytes;
  block->stream = stream;
  block->pool = pool;
  block->small = size <= kSmall;
  stats_.cached += bytes;
  ++stats_.segments;
  return (blocks_[data] = std::move(block)).get();
}

void StreamCache::split(Block* block, std::size_t size) {
  const std::size_t rest = block->size - size;
  if (block->small ? rest < kQuantum : rest <= kSmall) return;
  auto tail = std::make_unique<Block>(*block);
  tail->data += size;
  tail->size = rest;
  tail->previous = block;
  if (block->next) block->next->previous = tail.get();
  block->next = tail.get();
  block->size = size;
  tail->free = true;
  free_[tail->pool].of[tail->small ? 1 : 0].insert(tail.get());
  void* address = tail->data;
  blocks_[address] = std::move(tail);
}

void StreamCache::give(Block* block) {
  std::set<Block*, BySize>& list = free_[block->pool].of[block->small ? 1 : 0];
  if (Block* next = block->next; next && next->free) {
    list.erase(next);
    block->size += next->size;
    block->next = next->next;
    if (block->next) block->next->previous = block;
    blocks_.erase(next->data);
  }
  if (Block* previous = block->previous; previous && previous->free) {
    list.erase(previous);
    previous->size += block->size;
    previous->next = block->next;
    if (previous->next) previous->next->previous = previous;
    blocks_.erase(block->data);
    block = previous;
  }
  block->free = true;
  if (block->whole() && dropped_.contains(block->pool) && capturing_.empty())
    return release_segment(block);
  list.insert(block);
}

void StreamCache::wait_for_streams(Block* block) {
  Waiting entry{block, {}};
  for (void* stream : std::exchange(block->users, {})) entry.marks.push_back(source_.mark(stream));
  waiting_.push_back(std::move(entry));
}

void StreamCache::collect(bool wait) {
  for (auto entry = waiting_.begin(); entry != waiting_.end();) {
    std::erase_if(entry->marks, [&](void* mark) {
      if (wait) source_.await(mark);
      if (!source_.reached(mark)) return false;
      source_.forget(mark);
      return true;
    });
    if (!entry->marks.empty()) {
      ++entry;
      continue;
    }
    give(entry->block);
    entry = waiting_.erase(entry);
  }
}

void StreamCache::release_unused() {
  for (auto& [pool, lists] : free_) {
    if (pool != 0 && !dropped_.contains(pool)) continue;
    for (std::set<Block*, BySize>& list : lists.of)
      for (auto block = list.begin(); block != list.end();) {
        Block* unused = *block;
        if (!unused->whole()) {
          ++block;
          continue;
        }
        block = list.erase(block);
        release_segment(unused);
      }
  }
}

void StreamCache::release_segment(Block* block) {
  stats_.cached -= block->size;
  source_.release(block->data, block->size);
  blocks_.erase(block->data);
}

std::size_t StreamCache::held_by_graphs() const {
  std::size_t bytes = 0;
  for (const auto& [pool, lists] : free_) {
    if (pool == 0) continue;
    for (const auto& list : lists.of)
      for (const Block* block : list) bytes += block->size;
  }
  return bytes;
}

void StreamCache::refuse(std::size_t bytes) const {
  fail(ErrorKind::out_of_memory,
       fmt::format("{}: cannot allocate {:.2f} GiB ({:.2f} GiB in use, {:.2f} GiB kept for graphs, "
                   "{:.2f} GiB in pieces that are too small); use a smaller batch or smaller "
                   "pictures",
                   device_, gib(bytes), gib(stats_.live), gib(held_by_graphs()),
                   gib(stats_.cached - held_by_graphs())));
}

}  // namespace tiller
