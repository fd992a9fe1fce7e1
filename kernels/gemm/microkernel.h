#pragma once
// The innermost loops of every fast matrix product on the CPU. Three shapes of the same idea: a
// tile of rows x columns of the result lives in registers while the reduction runs past it.
//
//   TileKernel   c[i][j]  = sum over runs, l: rows[run.segment][i][run.begin + l] * run.b[l][j]
//                rows are reached through pointers (indirection), so that a convolution's taps, its
//                second source, up-sampling and padding are pointers and nothing else;
//   OuterKernel  c[i][j]  = sum over l: a[l][i] * b[l][j]   (the weight gradient)
//   StripKernel  c[i][j]  = sum over l: a[l / 16][i][l % 16] * b[l][j]
//                where whoever makes the rows can lay them out: one stream of whole cache lines
//                in the order of reading, which the processor fetches ahead (Winograd's products)
//
// This header is compiled once per instruction set. It includes nothing that another translation
// unit could share: an inline function compiled for AVX-512 must not be the one that the linker
// keeps.
#include <cstdint>

#include "kernels/gemm/unpack.h"

namespace tiller {

/// A stretch of the reduction: `length` elements of each row's segment against as many rows of the
/// packed weight, whose panels are `panel_stride` floats apart.
struct GemmRun {
  const float* b;             ///< [panels][..][columns] of panel 0
  std::int64_t panel_stride;  ///< in floats
  std::int64_t segment;       ///< which pointer of each row
  std::int64_t begin;         ///< first element within the segment
  std::int64_t length;
};

/// Most rows of a tile on any instruction set.
constexpr int kMaxTileRows = 14;

/// `rows`: [segments][kMaxTileRows] pointers; a null first pointer says that the whole segment is
/// zeros. `c`: [rows][columns], added to when `accumulate`.
using TileKernel = void (*)(const GemmRun* runs, std::int64_t count, std::int64_t panel,
                            const float* const* rows, float* c, bool accumulate);
/// `a`: [length][rows], `b`: [length][columns], their rows `stride` floats apart; `c`:
/// [rows][columns] is overwritten.
using OuterKernel = void (*)(std::int64_t length, const float* a, std::int64_t a_stride,
                             const float* b, std::int64_t b_stride, float* c);
/// Elements of a row that stand side by side in a strip: a cache line.
constexpr int kStripElements = 16;
/// `length`: a multiple of kStripElements. `c`: [rows][columns], added to when `accumulate`.
using StripKernel = void (*)(std::int64_t length, const float* a, const float* b, float* c,
                             bool accumulate);

/// The kernels of one instruction set, indexed by the number of rows (0 is unused).
struct Microkernels {
  int rows;            ///< most rows of a tile
  int columns;         ///< columns of a tile
  int narrow_columns;  ///< columns of a narrow tile, for a product with few columns
  TileKernel tile[kMaxTileRows + 1];
  TileKernel narrow[kMaxTileRows + 1];
  OuterKernel outer[kMaxTileRows + 1];
  OuterKernel outer_narrow[kMaxTileRows + 1];
  StripKernel strip[kMaxTileRows + 1];
  UnpackKernels unpack;
};

const Microkernels& microkernels_avx2();    ///< AVX2 and FMA: 6 x 16
const Microkernels& microkernels_avx512();  ///< AVX-512: 14 x 32; ask avx512_available() first

}  // namespace tiller
