#pragma once
// cp.async: copies from global to shared memory that are done some time later. Here they are done
// as late as the program allows, within wait_group, and in random order; until then their target
// holds NaN, and reading it is an error.
#include <cstddef>
#include <deque>
#include <vector>

#include "kernels/simt/where.h"

namespace tiller::executor {

/// One copy in flight: `from` bytes are read, the rest of `bytes` become zero.
struct AsyncCopy {
  void* to;
  const void* from;
  unsigned bytes, from_bytes;
  Where where;
};

/// The copies that one thread issued.
struct AsyncQueue {
  std::vector<AsyncCopy> open;                // not yet committed
  std::deque<std::vector<AsyncCopy>> groups;  // committed, oldest first
  bool idle() const { return open.empty() && groups.empty(); }
};

/// cp.async of 4, 8 or 16 bytes, the last ones beyond `from_bytes` filled with zero.
void issue_copy(void* to, const void* from, unsigned bytes, unsigned from_bytes, Where where);
/// cp.async.commit_group.
void commit_copies();
/// cp.async.wait_group: all but the newest `pending` groups are done.
void wait_copies(unsigned pending);

}  // namespace tiller::executor
