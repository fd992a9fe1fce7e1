#pragma once
// wgmma: matrix products of a warpgroup (four warps) whose operands are tiles in shared memory, done
// asynchronously. Here a product is done as late as it may be, within wait_group; until then the
// accumulators hold NaN, and operands that change are an error. (PTX ISA, "Asynchronous warpgroup
// level matrix instructions".)
#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "kernels/simt/matrix.h"
#include "kernels/simt/where.h"

namespace tiller::executor {

/// A tile in shared memory as the instruction takes it: address, strides, swizzle.
struct DescribedTile {
  std::size_t start;   ///< byte of shared memory
  std::size_t stride;  ///< between groups of eight rows
};
/// The descriptor of a K-major tile whose rows are 128 bytes, swizzled over 128 bytes.
constexpr std::uint64_t describe_tile(std::size_t offset) {
  return (offset & 0x3FFFF) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{64} << 32 |
         std::uint64_t{1} << 62;
}
/// Checks the descriptor's fields against what a tile of `rows` rows needs. Faults.
DescribedTile read_descriptor(std::uint64_t bits, int rows, Where where);

/// Row and column of D that element i of a thread of the warpgroup holds (m64nNk16, "Matrix D").
Element wgmma_fragment(unsigned thread, int i);

/// One product that a warp has asked for: its 16 of the 64 rows.
struct WarpProduct {
  MatrixType type;
  int n;
  std::uint64_t a, b;
  bool accumulate;
  std::size_t sums;  ///< its accumulators' place in WarpProducts::live
  Where where;
};

/// The registers of a warp that products in flight accumulate into.
struct Accumulators {
  std::array<float*, 32> registers;
  int per_lane;
  std::vector<float> values;  ///< what they would hold: [lane][per_lane]
  int pending;
};

/// What one warp has in flight.
struct WarpProducts {
  bool fenced = false;  ///< wgmma.fence since registers were last the program's own
  std::vector<WarpProduct> open;
  std::deque<std::vector<WarpProduct>> groups;
  std::vector<Accumulators> live;
  std::uint64_t issued = 0;
  Where last;
  unsigned registers = 0;  ///< setmaxnreg's; 0: what the launch gave
  bool idle() const { return open.empty() && groups.empty(); }
};

void wgmma_fence(Where where);
/// wgmma.mma_async.sync.aligned.m64nNk16.f32: d = a b^T (+ d), d of n / 2 registers a thread.
void wgmma(MatrixType type, int n, float* d, std::uint64_t a, std::uint64_t b, bool accumulate,
           Where where);
void wgmma_commit(Where where);
void wgmma_wait(unsigned pending, Where where);
/// setmaxnreg.inc / .dec of a whole warpgroup.
void set_max_registers(unsigned count, bool more, Where where);
/// The four warps of a group have asked for the same products; called when a block ends.
void check_warpgroups();

}  // namespace tiller::executor
