#include "kernels/simt/warp.h"

namespace tiller::executor {

namespace {

// The lane that `lane` reads; itself where the hardware leaves the value alone.
unsigned source_lane(unsigned lane, const ShuffleOperand& s) {
  const unsigned first = lane / s.width * s.width;  // of the lane's segment
  switch (s.kind) {
    case Shuffle::index:
      return first + s.operand % s.width;
    case Shuffle::up:
      return lane - first < s.operand ? lane : lane - s.operand;
    case Shuffle::down:
      return lane + s.operand >= first + s.width ? lane : lane + s.operand;
    case Shuffle::exclusive_or:
      break;
  }
  const unsigned other = lane ^ s.operand;
  return other >= first + s.width ? lane : other;
}

void shuffle_work(WarpGate& gate) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(gate.arrived >> lane & 1u)) continue;
    auto& own = *static_cast<ShuffleOperand*>(gate.argument[lane]);
    const unsigned source = source_lane(lane, own);
    if (!(gate.arrived >> source & 1u))
      fault(gate.where,
            "%s: lane %u reads lane %u, which takes no part (mask %08x, lanes that came %08x)",
            gate.what, lane, source, gate.mask, gate.arrived);
    own.out = static_cast<const ShuffleOperand*>(gate.argument[source])->in;
  }
}

struct Vote {
  bool predicate;
  unsigned lanes;
};

void ballot_work(WarpGate& gate) {
  unsigned lanes = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if ((gate.arrived >> lane & 1u) && static_cast<const Vote*>(gate.argument[lane])->predicate)
      lanes |= 1u << lane;
  for (unsigned lane = 0; lane < kWarp; ++lane)
    if (gate.arrived >> lane & 1u) static_cast<Vote*>(gate.argument[lane])->lanes = lanes;
}

void sync_work(WarpGate& gate) {
  Block& block = *Block::running();
  block.shadow().sync_lanes(Block::thread().warp, gate.mask);
}

}  // namespace

void shuffle(unsigned mask, const char* what, Where where, ShuffleOperand& operand) {
  const unsigned w = operand.width;
  if (w == 0 || w > kWarp || (w & (w - 1)) != 0)
    fault(where, "%s: width %u is not a power of two up to 32", what, w);
  Block::running()->meet_warp(mask, what, where, &operand, shuffle_work);
}

unsigned ballot(unsigned mask, const char* what, Where where, bool predicate) {
  Vote vote{predicate, 0};
  Block::running()->meet_warp(mask, what, where, &vote, ballot_work);
  return vote.lanes;
}

void sync_warp(unsigned mask, Where where) {
  Block::running()->meet_warp(mask, "__syncwarp", where, nullptr, sync_work);
}

}  // namespace tiller::executor
