#include "kernels/simt/block.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <utility>

#include "runtime/counters.h"
#include "runtime/error.h"

namespace tiller::executor {

namespace {

// A source file's path from the root.
std::string base_name(const char* path) {
  const std::string_view text = path;
  const std::size_t slash = text.rfind("kernels/");
  const std::size_t tests = text.rfind("tests/");
  if (slash != std::string_view::npos) return std::string(text.substr(slash));
  return std::string(tests != std::string_view::npos ? text.substr(tests) : text);
}

}  // namespace

void fault(Where where, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const Block* block = Block::running();
  fail(ErrorKind::failed, block ? fmt::format("simt: {}; {}", text, block->context(where)) : text);
}

std::string Block::context(Where where) const {
  return fmt::format("kernel {}, block ({},{},{}), thread {}, {}:{} (order: {})", spec_->kernel,
                     blockIdx.x, blockIdx.y, blockIdx.z, current_ ? current_->linear : 0,
                     base_name(where.file), where.line, to_string(order_));
}

Block::Block(const LaunchSpec& spec)
    : spec_(&spec),
      order_(current_order()),
      random_(order_.seed),
      shadow_(spec.shared_bytes, static_cast<unsigned>(spec.block.count())),
      threads_(static_cast<std::size_t>(spec.block.count())),
      live_lanes_((threads_.size() + kWarp - 1) / kWarp),
      warp_gates_(live_lanes_.size()),
      products_(live_lanes_.size()),
      ready_(threads_.size()) {
  for (unsigned i = 0; i < threads_.size(); ++i) {
    Thread& thread = threads_[i];
    thread.index =
        Dim3(i % spec.block.x, i / spec.block.x % spec.block.y, i / spec.block.x / spec.block.y);
    thread.linear = i;
    thread.lane = i % kWarp;
    thread.warp = i / kWarp;
  }
}

void Block::run_grid(const LaunchSpec& spec, void (*body)(const void*), const void* parameters) {
  TILLER_CHECK(!running_, "simt: kernel {} is launched from within kernel {}", spec.kernel,
               running_->spec_->kernel);
  Block block(spec);
  block.body_ = body;
  block.parameters_ = parameters;
  struct Running {
    explicit Running(Block& b) { running_ = &b; }
    ~Running() {
      running_ = nullptr;
      clear_simt_counters();  // a kernel that failed stopped counting somewhere
    }
  } const running(block);
  blockDim = spec.block;
  gridDim = spec.grid;
  const std::uint64_t blocks = spec.grid.count();
  // In random order each block is drawn from a window of the blocks to come, so that a kernel which
  // relies on one block's work in another is found out.
  constexpr std::uint64_t kWindow = 64;
  std::vector<std::uint64_t> window;
  std::uint64_t next = 0;
  while (next < blocks || !window.empty()) {
    while (next < blocks && window.size() < kWindow) window.push_back(next++);
    std::size_t pick = 0;
    if (block.order_.kind == Order::Kind::descending) pick = window.size() - 1;
    if (block.order_.kind == Order::Kind::random)
      pick = block.random_.below(static_cast<std::uint32_t>(window.size()));
    const std::uint64_t b = window[pick];
    window.erase(window.begin() + static_cast<std::ptrdiff_t>(pick));
    block.run(Dim3(static_cast<unsigned>(b % spec.grid.x),
                   static_cast<unsigned>(b / spec.grid.x % spec.grid.y),
                   static_cast<unsigned>(b / spec.grid.x / spec.grid.y)));
  }
  const std::int64_t left = clear_simt_counters();
  TILLER_CHECK(left == 0,
               "simt: kernel {} ended and left {} counters that are not zero (order: {})",
               spec.kernel, left, to_string(block.order_));
}

void Block::run(Dim3 index) {
  blockIdx = index;
  shadow_.begin_block();
  mbarriers_.clear();
  tma_.clear();
  products_.assign(products_.size(), {});
  live_ = static_cast<unsigned>(threads_.size());
  ready_head_ = ready_count_ = 0;
  for (unsigned& lanes : live_lanes_) lanes = 0;
  const bool backwards = order_.kind == Order::Kind::descending;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    prepare(threads_[i].fiber, i, thread_main);
    live_lanes_[i / kWarp] |= 1u << i % kWarp;
    push_ready(threads_[backwards ? threads_.size() - 1 - i : i]);
  }
  dispatch();  // comes back when all have returned, none can go on, or one has failed
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  if (live_ > 0) report_deadlock();
  finish_engines();
}

void Block::finish_engines() {
  if (!tma_.idle())
    fault(tma_.oldest(), "the block ended while this TMA copy was in flight: nobody waited for it");
  mbarriers_.check_done();
  for (const WarpProducts& products : products_)
    if (products.issued > 0) return check_warpgroups();
}

// At random, or as late as can be.
void Block::run_engine() {
  const bool random = order_.kind == Order::Kind::random;
  while (!tma_.idle() && (ready_count_ == 0 || (random && random_.below(8) == 0))) {
    const auto count = static_cast<std::uint32_t>(tma_.count());
    std::size_t pick = order_.kind == Order::Kind::ascending ? 0 : count - 1;
    if (random) pick = random_.below(count);
    tma_.complete(*this, pick);
  }
}

void Block::push_ready(Thread& thread) {
  thread.state = State::ready;
  ready_[(ready_head_ + ready_count_) % ready_.size()] = &thread;
  ++ready_count_;
}

Thread* Block::pop_ready() {
  if (!tma_.idle()) run_engine();
  if (ready_count_ == 0) return nullptr;
  Thread*& head = ready_[ready_head_];
  if (order_.kind == Order::Kind::random && ready_count_ > 1)
    std::swap(head, ready_[(ready_head_ + random_.below(ready_count_)) % ready_.size()]);
  Thread* thread = head;
  ready_head_ = ready_head_ + 1 == ready_.size() ? 0 : ready_head_ + 1;
  --ready_count_;
  return thread;
}

// Leaves the current thread (or the main stack) for the next one that may run.
void Block::dispatch() {
  Thread* from = current_;
  Thread* to = error_ ? nullptr : pop_ready();
  if (to == from && from) return;
  current_ = to;
  if (to) threadIdx = to->index;
  switch_fiber(from ? from->fiber : main_, to ? to->fiber : main_);
  // Here again: whoever switched to us has set current_ and threadIdx.
}

void Block::thread_main() {
  Block& block = *running_;
  try {
    block.body_(block.parameters_);
    block.leave_current();
  } catch (...) {  // it must not cross into another fiber; run() throws it again
    if (!block.error_) block.error_ = std::current_exception();
  }
  block.current_->state = State::done;
  block.dispatch();
  __builtin_unreachable();
}

void Block::wait(const char* what, Where where) {
  Thread& me = *current_;
  me.state = State::waiting;
  me.waits_in = what;
  me.where = where;
  dispatch();
}

// A thread has returned: those that wait for everybody else may be complete now.
void Block::leave_current() {
  Thread& me = *current_;
  if (!me.copies.idle()) {
    const Where where =
        me.copies.open.empty()
            ? me.copies.groups.front().empty() ? Where{} : me.copies.groups.front().front().where
            : me.copies.open.front().where;
    const bool empty =
        me.copies.open.empty() && std::all_of(me.copies.groups.begin(), me.copies.groups.end(),
                                              [](const auto& group) { return group.empty(); });
    me.copies = {};
    if (!empty) fault(where, "the thread returned while this cp.async of its was in flight");
  }
  if (!products_[me.warp].idle())
    fault(products_[me.warp].last,
          "the thread returned while this wgmma of its warp was in flight: wgmma_wait<0>() is "
          "missing");
  if (overflowed(me.fiber)) fault({}, "the thread used more stack than a fiber has");
  live_lanes_[me.warp] &= ~(1u << me.lane);
  --live_;
  for (const WarpGate& gate : warp_gates_[me.warp])
    if (gate.arrived && (gate.mask >> me.lane & 1u))
      fault(gate.where,
            "lane %u has returned, but lane %u waits for it in %s at line %d (mask %08x)", me.lane,
            gate.first_lane(), gate.what, gate.where.line, gate.mask);
  for (BlockGate& gate : barriers_)
    if (!gate.arrived.empty() && gate.needed == 0 && gate.arrived.size() == live_)
      finish_block(gate);
}

void Block::meet_warp(unsigned mask, const char* what, Where where, void* argument,
                      void (*work)(WarpGate&)) {
  Thread& me = *current_;
  const unsigned bit = 1u << me.lane;
  if (!(mask & bit))
    fault(where, "%s with mask %08x, which does not name the calling lane %u", what, mask, me.lane);
  if (mask & ~live_lanes_[me.warp])
    fault(
        where,
        "%s with mask %08x, which names lanes that have returned or do not exist (%08x are there)",
        what, mask, live_lanes_[me.warp]);
  std::vector<WarpGate>& gates = warp_gates_[me.warp];
  WarpGate* gate = nullptr;
  for (WarpGate& open : gates) {
    if (!open.arrived) {
      if (!gate) gate = &open;
      continue;
    }
    if (open.mask == mask) {
      gate = &open;
      break;
    }
    if ((open.mask & bit) && (mask & open.arrived))  // each would wait for the other
      fault(
          where,
          "lanes disagree: %s with mask %08x, while lane %u waits in %s at line %d with mask %08x",
          what, mask, open.first_lane(), open.what, open.where.line, open.mask);
  }
  if (!gate) gate = &gates.emplace_back();
  if (!gate->arrived) {
    gate->mask = mask;
    gate->what = what;
    gate->where = where;
    gate->work = work;
  } else if (gate->work != work || gate->where.line != where.line) {
    fault(where, "lanes diverge: %s here, while lane %u waits in %s at line %d", what,
          gate->first_lane(), gate->what, gate->where.line);
  }
  gate->arrived |= bit;
  gate->argument[me.lane] = argument;
  if (gate->arrived == mask) {
    finish_warp(*gate, me.warp);
    return;
  }
  wait(what, where);
}

// The work runs on the last thread's stack; all others become ready.
void Block::finish_warp(WarpGate& gate, unsigned warp) {
  if (gate.work) gate.work(gate);
  const unsigned arrived = std::exchange(gate.arrived, 0u);
  const bool backwards = order_.kind == Order::Kind::descending;
  for (unsigned i = 0; i < kWarp; ++i) {
    const unsigned lane = backwards ? kWarp - 1 - i : i;
    if (!(arrived >> lane & 1u)) continue;
    Thread& thread = lane_of(warp, lane);
    if (&thread != current_) push_ready(thread);
  }
}

void Block::meet_block(int barrier, unsigned needed, const char* what, Where where) {
  BlockGate& gate = barriers_[static_cast<std::size_t>(barrier)];
  if (gate.arrived.empty()) {
    gate.needed = needed;
    gate.what = what;
    gate.where = where;
  } else if (gate.where.line != where.line && needed == 0) {
    fault(where, "threads diverge: %s here, while thread %u waits in %s at line %d", what,
          gate.arrived.front()->linear, gate.what, gate.where.line);
  } else if (gate.needed != needed) {
    fault(where, "%s of barrier %d for %u threads, while thread %u waits for %u at line %d", what,
          barrier, needed, gate.arrived.front()->linear, gate.needed, gate.where.line);
  }
  gate.arrived.push_back(current_);
  if (gate.arrived.size() == (needed ? needed : live_)) {
    finish_block(gate);
    return;
  }
  wait(what, where);
}

void Block::finish_block(BlockGate& gate) {
  if (gate.needed == 0) {
    shadow_.sync_block();
  } else {
    std::vector<unsigned> warps;
    for (const Thread* thread : gate.arrived) warps.push_back(thread->warp);
    std::sort(warps.begin(), warps.end());
    warps.erase(std::unique(warps.begin(), warps.end()), warps.end());
    shadow_.sync_warps(warps);
  }
  if (order_.kind != Order::Kind::random)
    std::sort(gate.arrived.begin(), gate.arrived.end(), [&](const Thread* a, const Thread* b) {
      return (a->linear < b->linear) == (order_.kind == Order::Kind::ascending);
    });
  for (Thread* thread : gate.arrived)
    if (thread != current_) push_ready(*thread);
  gate.arrived.clear();
}

void Block::report_deadlock() const {
  // Where threads wait, and which.
  std::map<std::pair<std::string, int>, std::vector<unsigned>> waiting;
  unsigned returned = 0;
  for (const Thread& thread : threads_) {
    if (thread.state == State::done) ++returned;
    if (thread.state == State::waiting)
      waiting[{fmt::format("{} at {}:{}", thread.waits_in, base_name(thread.where.file),
                           thread.where.line),
               thread.where.line}]
          .push_back(thread.linear);
  }
  std::string text;
  for (const auto& [place, threads] : waiting) {
    std::string list;
    for (std::size_t i = 0; i < threads.size();) {  // 0-39, 41
      std::size_t end = i + 1;
      while (end < threads.size() && threads[end] == threads[end - 1] + 1) ++end;
      list += fmt::format("{}{}", list.empty() ? "" : ", ", threads[i]);
      if (end - i > 1) list += fmt::format("-{}", threads[end - 1]);
      i = end;
    }
    text += fmt::format("{}threads {} wait in {}", text.empty() ? "" : "; ", list, place.first);
  }
  fail(
      ErrorKind::failed,
      fmt::format("simt: deadlock: {}; {} have returned{}; kernel {}, block ({},{},{}) (order: {})",
                  text, returned, mbarriers_.describe(), spec_->kernel, blockIdx.x, blockIdx.y,
                  blockIdx.z, to_string(order_)));
}

}  // namespace tiller::executor
