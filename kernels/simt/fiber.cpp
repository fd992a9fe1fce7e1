#include "kernels/simt/fiber.h"

#include <boost/context/detail/fcontext.hpp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace tiller::executor {

namespace {

namespace fcontext = boost::context::detail;

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 512 << 10;  // its frames are several times larger
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif
constexpr std::uint64_t kMark = 0x7469'6C6C'6572'2121u;

struct Free {
  void operator()(std::byte* stack) const { std::free(stack); }
};

struct Switch {
  Fiber* from = nullptr;
  void (*entry)() = nullptr;
};
thread_local Switch last;

// The address sanitizer must be told whose stack is in use.
void leave(Fiber& to, void** fake) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, to.stack, to.bytes);
#else
  (void)to;
  (void)fake;
#endif
}
void enter(void* fake) {
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake, &bottom, &bytes);
  if (last.from && !last.from->stack) {  // the first switch away from the thread's own stack
    last.from->stack = static_cast<std::byte*>(const_cast<void*>(bottom));
    last.from->bytes = bytes;
  }
#else
  (void)fake;
#endif
}

void trampoline(fcontext::transfer_t transfer) {
  last.from->context = transfer.fctx;
  enter(nullptr);
  last.entry();
}

}  // namespace

std::byte* pooled_stack(std::size_t index, std::size_t& bytes) {
  static thread_local std::vector<std::unique_ptr<std::byte, Free>> stacks;
  while (stacks.size() <= index) {
    auto* stack = static_cast<std::byte*>(std::aligned_alloc(4096, kStackBytes));
    if (!stack) throw std::bad_alloc();
    std::memcpy(stack, &kMark, sizeof kMark);
    stacks.emplace_back(stack);
  }
  bytes = kStackBytes - 64 - index % 48 * 64;
  return stacks[index].get();
}

void prepare(Fiber& fiber, std::size_t index, void (*entry)()) {
  fiber.stack = pooled_stack(index, fiber.bytes);
  fiber.context = fcontext::make_fcontext(fiber.stack + fiber.bytes, fiber.bytes, trampoline);
  last.entry = entry;
}

void switch_fiber(Fiber& from, Fiber& to) {
  void* fake = nullptr;
  last.from = &from;
  leave(to, &fake);
  const fcontext::transfer_t transfer = fcontext::jump_fcontext(to.context, nullptr);
  last.from->context = transfer.fctx;  // whoever switched to us
  enter(fake);
}

bool overflowed(const Fiber& fiber) {
  std::uint64_t mark;
  std::memcpy(&mark, fiber.stack, sizeof mark);
  return mark != kMark;
}

}  // namespace tiller::executor
