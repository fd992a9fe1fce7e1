#pragma once
// Fibers: stacks that one operating-system thread switches between, in a few nanoseconds
// (Boost.Context's fcontext saves eight registers and jumps).
#include <cstddef>

namespace tiller::executor {

/// One stack and the place where it stands still.
struct Fiber {
  void* context = nullptr;  ///< where jump() left it
  std::byte* stack = nullptr;
  std::size_t bytes = 0;
};

/// Stacks are pooled for each operating-system thread. Their tops are spread over a page: a top
/// exactly on a page boundary makes each switch fifteen times slower, and equal offsets would make
/// all stacks meet in the same cache sets.
std::byte* pooled_stack(std::size_t index, std::size_t& bytes);

/// Makes the fiber start at `entry` when it is first switched to. `entry` must never return.
void prepare(Fiber& fiber, std::size_t index, void (*entry)());

/// Leaves `from` and goes on in `to`; returns when someone switches to `from`.
void switch_fiber(Fiber& from, Fiber& to);

/// Whether the fiber has used up its stack, judged by a mark at its end.
bool overflowed(const Fiber& fiber);

}  // namespace tiller::executor
