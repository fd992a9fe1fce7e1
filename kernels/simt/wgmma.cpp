#include "kernels/simt/wgmma.h"

#include <bit>
#include <cstring>

#include "kernels/simt/block.h"
#include "kernels/simt/tma.h"
#include "runtime/half.h"

namespace tiller::executor {

namespace {

constexpr std::uint32_t kPoison = 0xFFFFFFFFu;

WarpProducts& own_products() { return Block::running()->products(Block::thread().warp); }

void warpgroup_only(const char* what, Where where) {
  const Block& block = *Block::running();
  const unsigned live = block.live_lanes(Block::thread().warp);
  if (live != kFullMask)
    fault(where, "%s needs all 32 lanes of the warp; only %08x have not returned", what, live);
  if (block.spec().block.count() % 128 != 0)
    fault(where, "%s in a block of %u threads, which is not made of warpgroups of 128", what,
          static_cast<unsigned>(block.spec().block.count()));
}

// Eight elements of row `row` of a tile, from its k-th on: one 16-byte vector, swizzled.
const std::byte* vector_of(const Shadow& shadow, const DescribedTile& tile, int row, int k) {
  const auto r = static_cast<std::size_t>(row);
  const std::size_t offset =
      tile.start + r / 8 * tile.stride + r % 8 * 128 + static_cast<std::size_t>(k) * 2;
  return shadow.memory() + swizzle_128(offset);
}

float element_of(MatrixType type, const std::byte* vector, int i) {
  std::uint16_t bits;
  std::memcpy(&bits, vector + i * 2, 2);
  if (type == MatrixType::bf16) return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  return half_detail::f16_to_float(bits);
}

// Every byte that a warp's product reads, through the shadow.
template <class F>
void for_each_vector(const WarpProduct& p, const F& f) {
  const DescribedTile a = read_descriptor(p.a, 64, p.where), b = read_descriptor(p.b, p.n, p.where);
  const Shadow& shadow = Block::running()->shadow();
  const int first = static_cast<int>(Block::thread().warp % 4) * 16;
  for (int k = 0; k < 16; k += 8) {
    for (int row = 0; row < 16; ++row) f(true, row, k, vector_of(shadow, a, first + row, k));
    for (int row = 0; row < p.n; ++row) f(false, row, k, vector_of(shadow, b, row, k));
  }
}

void compute(WarpProducts& warp, const WarpProduct& p) {
  Shadow& shadow = Block::running()->shadow();
  static thread_local float a[16][16], b[256][16];
  for_each_vector(p, [&](bool left, int row, int k, const std::byte* vector) {
    shadow.read_by_engine(vector, 16, Block::thread().linear, p.where);
    for (int i = 0; i < 8; ++i) (left ? a : b)[row][k + i] = element_of(p.type, vector, i);
  });
  Accumulators& sums = warp.live[p.sums];
  for (unsigned lane = 0; lane < kWarp; ++lane)
    for (int i = 0; i < p.n / 2; ++i) {
      const Element at = wgmma_fragment(lane, i);  // of the warp's 16 rows
      float& sum =
          sums.values[lane * static_cast<unsigned>(sums.per_lane) + static_cast<unsigned>(i)];
      if (!p.accumulate) sum = 0.0f;
      for (int k = 0; k < 16; ++k) sum += a[at.row][k] * b[at.column][k];
    }
  --sums.pending;
}

// Registers that no product accumulates into any more get their values.
void write_back(WarpProducts& warp, Where where) {
  for (Accumulators& sums : warp.live) {
    if (sums.pending > 0 || sums.values.empty()) continue;
    for (unsigned lane = 0; lane < kWarp; ++lane)
      for (int i = 0; i < sums.per_lane; ++i) {
        float& to = sums.registers[lane][i];
        if (std::bit_cast<std::uint32_t>(to) != kPoison)
          fault(where,
                "wgmma: lane %u wrote accumulator %d while a product was in flight: its wait_group "
                "is missing",
                lane, i);
        to = sums.values[lane * static_cast<unsigned>(sums.per_lane) + static_cast<unsigned>(i)];
      }
    sums.values.clear();
  }
  if (warp.idle()) warp.live.clear();
}

struct Request {
  WarpProduct product;
  float* d;
};

// The accumulators of these registers; taken over and poisoned if no product has them yet.
std::size_t accumulators_of(WarpProducts& warp, const WarpGate& gate, const WarpProduct& p) {
  const float* first = static_cast<const Request*>(gate.argument[0])->d;
  for (std::size_t i = 0; i < warp.live.size(); ++i)
    if (!warp.live[i].values.empty() && warp.live[i].registers[0] == first) return i;
  if (!warp.fenced)
    fault(p.where,
          "wgmma: wgmma_fence() is missing since the accumulators were last the program's");
  Accumulators sums{};
  sums.per_lane = p.n / 2;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    sums.registers[lane] = static_cast<const Request*>(gate.argument[lane])->d;
    for (int i = 0; i < sums.per_lane; ++i) {
      sums.values.push_back(sums.registers[lane][i]);
      sums.registers[lane][i] = std::bit_cast<float>(kPoison);
    }
  }
  warp.live.push_back(std::move(sums));
  return warp.live.size() - 1;
}

void issue(WarpGate& gate) {
  WarpProducts& warp = own_products();
  WarpProduct p = static_cast<const Request*>(gate.argument[0])->product;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const WarpProduct& other = static_cast<const Request*>(gate.argument[lane])->product;
    if (other.a != p.a || other.b != p.b || other.accumulate != p.accumulate)
      fault(p.where, "wgmma: lane %u has other descriptors than lane 0", lane);
  }
  p.sums = accumulators_of(warp, gate, p);
  ++warp.live[p.sums].pending;
  // The operands must be there now, and stay until the product is done.
  for_each_vector(p, [&](bool, int, int, const std::byte* vector) {
    Block::running()->shadow().read_by_engine(vector, 16, Block::thread().linear, p.where);
  });
  warp.open.push_back(p);
  ++warp.issued;
  warp.last = p.where;
}

void commit(WarpGate&) {
  WarpProducts& warp = own_products();
  warp.groups.push_back(std::move(warp.open));
  warp.open.clear();
}

struct Wait {
  unsigned pending;
};

void wait(WarpGate& gate) {
  WarpProducts& warp = own_products();
  const unsigned pending = static_cast<const Wait*>(gate.argument[0])->pending;
  while (warp.groups.size() > pending) {
    for (const WarpProduct& p : warp.groups.front()) compute(warp, p);
    warp.groups.pop_front();
  }
  write_back(warp, gate.where);
  warp.fenced = false;
}

}  // namespace

DescribedTile read_descriptor(std::uint64_t bits, int rows, Where where) {
  const auto field = [&](int low, int count) {
    return static_cast<std::size_t>(bits >> low & ((std::uint64_t{1} << count) - 1));
  };
  const DescribedTile tile{field(0, 14) << 4, field(32, 14) << 4};
  if (field(62, 2) != 1)
    fault(where,
          "wgmma: a descriptor with swizzle mode %zu; tiles here are swizzled over 128 bytes",
          field(62, 2));
  if (tile.stride != 1024)
    fault(where, "wgmma: a descriptor with %zu bytes between groups of eight rows, which are 1024",
          tile.stride);
  if (field(49, 3) != 0 || tile.start % 1024 > 96 || tile.start % 32 != 0)
    fault(where,
          "wgmma: a descriptor that starts at shared byte %zu; tiles begin at multiples of 1024, "
          "and steps of 16 terms are 32 bytes apart within a row of 128",
          tile.start);
  const std::size_t end = tile.start / 1024 * 1024 + static_cast<std::size_t>(rows) * 128;
  if (end > Block::running()->shadow().bytes())
    fault(where, "wgmma: a tile of %d rows at shared byte %zu ends behind the %zu there are", rows,
          tile.start, Block::running()->shadow().bytes());
  return tile;
}

Element wgmma_fragment(unsigned thread, int i) {
  const int warp = static_cast<int>(thread / 32), lane = static_cast<int>(thread % 32);
  return {warp * 16 + lane / 4 + i / 2 % 2 * 8, i / 4 * 8 + lane % 4 * 2 + i % 2};
}

void wgmma_fence(Where where) {
  warpgroup_only("wgmma_fence", where);
  Block::running()->meet_warp(kFullMask, "wgmma_fence", where, nullptr,
                              [](WarpGate&) { own_products().fenced = true; });
}

void wgmma(MatrixType type, int n, float* d, std::uint64_t a, std::uint64_t b, bool accumulate,
           Where where) {
  warpgroup_only("wgmma", where);
  Request request{{type, n, a, b, accumulate, 0, where}, d};
  Block::running()->meet_warp(kFullMask, "wgmma", where, &request, issue);
}

void wgmma_commit(Where where) {
  warpgroup_only("wgmma_commit", where);
  Block::running()->meet_warp(kFullMask, "wgmma_commit", where, nullptr, commit);
}

void wgmma_wait(unsigned pending, Where where) {
  warpgroup_only("wgmma_wait", where);
  Wait request{pending};
  Block::running()->meet_warp(kFullMask, "wgmma_wait", where, &request, wait);
}

void set_max_registers(unsigned count, bool more, Where where) {
  warpgroup_only("setmaxnreg", where);
  struct Request {
    unsigned count;
    bool more;
  } request{count, more};
  Block::running()->meet_warp(kFullMask, "setmaxnreg", where, &request, [](WarpGate& gate) {
    Block& block = *Block::running();
    const auto& asked = *static_cast<const Request*>(gate.argument[0]);
    WarpProducts& own = own_products();
    if (own.registers && (asked.more ? asked.count < own.registers : asked.count > own.registers))
      fault(gate.where, "setmaxnreg.%s to %u registers, from %u", asked.more ? "inc" : "dec",
            asked.count, own.registers);
    own.registers = asked.count;
    unsigned total = 0;
    const auto warps = static_cast<unsigned>(block.spec().block.count()) / kWarp;
    for (unsigned w = 0; w < warps; ++w) total += block.products(w).registers * kWarp;
    if (total > 65536)
      fault(gate.where, "setmaxnreg: %u registers for the block; an SM has 65536", total);
  });
}

void check_warpgroups() {
  Block& block = *Block::running();
  const auto warps = static_cast<unsigned>(block.spec().block.count()) / kWarp;
  for (unsigned w = 0; w < warps; ++w) {
    const WarpProducts &own = block.products(w), &first = block.products(w / 4 * 4);
    if (own.issued != first.issued)
      fault(own.issued > first.issued ? own.last : first.last,
            "wgmma: warp %u asked for %llu products, warp %u of its warpgroup for %llu", w,
            static_cast<unsigned long long>(own.issued), w / 4 * 4,
            static_cast<unsigned long long>(first.issued));
  }
}

}  // namespace tiller::executor
