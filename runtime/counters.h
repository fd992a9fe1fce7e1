#pragma once
// Counters with which the blocks of a kernel learn which of them is the last
// (kernels/last_block.cuh).
#include <cstdint>

#include "runtime/device.h"

namespace tiller {

/// At least `count` counters of a stream of an accelerator. They are zero, and each kernel that
/// counts leaves them so, for the next one on the stream. Kernels of two streams may run at once,
/// so each stream has its own; and so has each thread, since on simt the thread that launches a
/// kernel runs it. They are made when they are first asked for, and stay where they are until the
/// program ends, because a captured graph goes on using them. Throws Error within a capture if
/// there are too few (a step that is to be captured runs once before, and that makes them), and
/// Error(out_of_memory).
std::uint32_t* counters(Stream stream, std::int64_t count);

/// Makes the calling thread's counters of simt zero and says how many were not: behind a kernel that
/// ended well, none. For the executor.
std::int64_t clear_simt_counters();

}  // namespace tiller
