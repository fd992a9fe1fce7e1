#include "kernels/simt/matrix.h"

#include <bit>
#include <cstring>

#include "kernels/simt/block.h"
#include "runtime/half.h"

namespace tiller::executor {

namespace {

void whole_warp(const char* what, Where where) {
  const Block& block = *Block::running();
  const unsigned live = block.live_lanes(Block::thread().warp);
  if (live != kFullMask)
    fault(where, "%s needs all 32 lanes of the warp; only %08x have not returned", what, live);
}

struct LdMatrix {
  std::uint32_t* registers;
  const std::byte* row;
  bool transposed;
};

void ldmatrix_work(WarpGate& gate) {
  const auto of = [&](unsigned lane) -> const LdMatrix& {
    return *static_cast<const LdMatrix*>(gate.argument[lane]);
  };
  for (unsigned lane = 0; lane < kWarp; ++lane)
    for (unsigned m = 0; m < 4; ++m) {
      std::uint16_t two[2];
      for (unsigned e = 0; e < 2; ++e) {
        // Lane l holds row l / 4, elements 2 (l % 4) and 2 (l % 4) + 1, or their transpose.
        unsigned row = lane / 4, column = lane % 4 * 2 + e;
        if (of(lane).transposed) {
          row = lane % 4 * 2 + e;
          column = lane / 4;
        }
        std::memcpy(&two[e], of(m * 8 + row).row + column * 2, 2);
      }
      of(lane).registers[m] = two[0] | static_cast<std::uint32_t>(two[1]) << 16;
    }
}

struct Mma {
  float* d;
  const std::uint32_t *a, *b;
  MatrixType type;
};

// Half i of a fragment of packed halves, or the tf32 that register i holds: its low 13 bits are not
// there.
float element_of(MatrixType type, const std::uint32_t* registers, int i) {
  if (type == MatrixType::tf32) return std::bit_cast<float>(registers[i] & 0xFFFFE000u);
  const auto bits = static_cast<std::uint16_t>(registers[i / 2] >> (i % 2 * 16));
  if (type == MatrixType::bf16) return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  return half_detail::f16_to_float(bits);
}

void mma_work(WarpGate& gate) {
  const MatrixType type = static_cast<const Mma*>(gate.argument[0])->type;
  const int k = type == MatrixType::tf32 ? 8 : 16;
  float a[16][16], b[16][8], d[16][8];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const auto& own = *static_cast<const Mma*>(gate.argument[lane]);
    for (int i = 0; i < k / 2; ++i) {
      const Element at = fragment_a(type, lane, i);
      a[at.row][at.column] = element_of(type, own.a, i);
    }
    for (int i = 0; i < k / 4; ++i) {
      const Element at = fragment_b(type, lane, i);
      b[at.row][at.column] = element_of(type, own.b, i);
    }
    for (int i = 0; i < 4; ++i) {
      const Element at = fragment_c(lane, i);
      d[at.row][at.column] = own.d[i];
    }
  }
  for (int i = 0; i < 16; ++i)
    for (int l = 0; l < k; ++l)
      for (int j = 0; j < 8; ++j) d[i][j] += a[i][l] * b[l][j];
  for (unsigned lane = 0; lane < kWarp; ++lane)
    for (int i = 0; i < 4; ++i) {
      const Element at = fragment_c(lane, i);
      static_cast<const Mma*>(gate.argument[lane])->d[i] = d[at.row][at.column];
    }
}

}  // namespace

Element fragment_a(MatrixType type, unsigned lane, int i) {
  const int group = static_cast<int>(lane / 4), member = static_cast<int>(lane % 4);
  if (type == MatrixType::tf32) return {group + i % 2 * 8, member + i / 2 * 4};
  return {group + i / 2 % 2 * 8, member * 2 + i % 2 + i / 4 * 8};
}

Element fragment_b(MatrixType type, unsigned lane, int i) {
  const int group = static_cast<int>(lane / 4), member = static_cast<int>(lane % 4);
  if (type == MatrixType::tf32) return {member + i * 4, group};
  return {member * 2 + i % 2 + i / 2 * 8, group};
}

Element fragment_c(unsigned lane, int i) {
  const int group = static_cast<int>(lane / 4), member = static_cast<int>(lane % 4);
  return {group + i / 2 * 8, member * 2 + i % 2};
}

void ldmatrix_x4(std::uint32_t (&registers)[4], const void* row, bool transposed, Where where) {
  whole_warp("ldmatrix", where);
  Block& block = *Block::running();
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    fault(where, "ldmatrix: the row at %p is not aligned to 16 bytes", row);
  if (!block.shadow().contains(row, 16))
    fault(where, "ldmatrix: the row at %p is outside shared memory", row);
  block.shadow().read(row, 16, Block::thread().linear, where);
  LdMatrix lane{registers, static_cast<const std::byte*>(row), transposed};
  block.meet_warp(kFullMask, "ldmatrix", where, &lane, ldmatrix_work);
}

void mma(MatrixType type, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         Where where) {
  whole_warp("mma.sync", where);
  Mma lane{d, a, b, type};
  Block::running()->meet_warp(kFullMask, "mma.sync", where, &lane, mma_work);
}

}  // namespace tiller::executor
