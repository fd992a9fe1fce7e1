#include "kernels/simt/async_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/simt/block.h"

namespace tiller::executor {

void issue_copy(void* to, const void* from, unsigned bytes, unsigned from_bytes, Where where) {
  Block& block = *Block::running();
  Thread& thread = Block::thread();
  if (bytes != 4 && bytes != 8 && bytes != 16)
    fault(where, "cp.async copies 4, 8 or 16 bytes, not %u", bytes);
  if (from_bytes > bytes) fault(where, "cp.async of %u bytes cannot read %u", bytes, from_bytes);
  if (reinterpret_cast<std::uintptr_t>(to) % bytes != 0 ||
      (from_bytes > 0 && reinterpret_cast<std::uintptr_t>(from) % bytes != 0))
    fault(where, "cp.async of %u bytes from %p to %p: an address is not a multiple of %u", bytes,
          from, to, bytes);
  if (!block.shadow().contains(to, bytes))
    fault(where, "cp.async to %p, which is outside shared memory", to);
  block.shadow().begin_copy(to, bytes, thread.linear, where);
  std::memset(to, 0xFF, bytes);
  thread.copies.open.push_back({to, from, bytes, from_bytes, where});
}

void commit_copies() {
  AsyncQueue& queue = Block::thread().copies;
  queue.groups.push_back(std::move(queue.open));
  queue.open.clear();
}

void wait_copies(unsigned pending) {
  Block& block = *Block::running();
  Thread& thread = Block::thread();
  while (thread.copies.groups.size() > pending) {
    std::vector<AsyncCopy>& group = thread.copies.groups.front();
    for (std::size_t left = group.size(); left > 0; --left) {
      std::swap(group[block.random().below(static_cast<std::uint32_t>(left))], group[left - 1]);
      const AsyncCopy& copy = group[left - 1];
      block.shadow().end_copy(copy.to, copy.bytes, thread.linear, copy.where);
      std::memcpy(copy.to, copy.from, copy.from_bytes);
      std::memset(static_cast<std::byte*>(copy.to) + copy.from_bytes, 0,
                  copy.bytes - copy.from_bytes);
    }
    thread.copies.groups.pop_front();
  }
}

}  // namespace tiller::executor
