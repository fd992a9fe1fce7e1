#pragma once
// The tensor-core rows of an operation whose product is v3_mma's: one for each tile and
// mathematics, and those that split their sum. The operation says
//
//   bool mma_serves(const Args&)                                 shapes that the kernel can do
//   MmaSize mma_size(const Args&)                                the product's extents
//   void mma_run(const Args&, MmaChoice, Arena&, Stream)         see mma_rows.h
#include <span>

#include "kernels/gemm/mma_rows.h"

namespace tiller {
inline namespace TILLER_DEVICE {

template <class Args, int kTile, Math kMath, bool kSplit>
Row<Args> mma_row() {
  static constexpr MmaTile kTileOf = kMmaTiles[kTile];
  static constexpr MmaChoice kChoice{kTile, kSplit};
  return {kMath == Math::half ? (kSplit ? kTileOf.half_split : kTileOf.half)
                              : (kSplit ? kTileOf.tf32_split : kTileOf.tf32),
          kDeviceType,
          kMath,
          RowKind::fast,
          [](const Args& args) {
            if (!mma_dtype(args.dtype(), kMath) || !mma_serves(args)) return false;
            const MmaSize size = mma_size(args);
            return tile_fits(kTileOf, size) && (!kSplit || split_count(kTileOf, size) > 1);
          },
          [](const Args& args) {
            return measured([&](Arena& arena) { mma_run(args, kChoice, arena, {}); });
          },
          [](const Args& args, void* workspace, Stream stream) {
            Arena arena(workspace);
            mma_run(args, kChoice, arena, stream);
          }};
}

template <class Args>
std::span<const Row<Args>> mma_rows() {
  static const Row<Args> rows[] = {
      mma_row<Args, 0, Math::tf32, false>(), mma_row<Args, 1, Math::tf32, false>(),
      mma_row<Args, 2, Math::tf32, false>(), mma_row<Args, 3, Math::tf32, false>(),
      mma_row<Args, 4, Math::tf32, false>(), mma_row<Args, 5, Math::tf32, false>(),
      mma_row<Args, 6, Math::tf32, false>(), mma_row<Args, 0, Math::half, false>(),
      mma_row<Args, 1, Math::half, false>(), mma_row<Args, 2, Math::half, false>(),
      mma_row<Args, 3, Math::half, false>(), mma_row<Args, 4, Math::half, false>(),
      mma_row<Args, 5, Math::half, false>(), mma_row<Args, 6, Math::half, false>(),
      mma_row<Args, 0, Math::tf32, true>(),  mma_row<Args, 2, Math::tf32, true>(),
      mma_row<Args, 3, Math::tf32, true>(),  mma_row<Args, 5, Math::tf32, true>(),
      mma_row<Args, 0, Math::half, true>(),  mma_row<Args, 2, Math::half, true>(),
      mma_row<Args, 3, Math::half, true>(),  mma_row<Args, 5, Math::half, true>(),
  };
  return rows;
}

/// The weight gradient's row: its tile follows from the shape.
template <class Args, Math kMath>
Row<Args> wgrad_row(const char* name) {
  return {
      name,
      kDeviceType,
      kMath,
      RowKind::fast,
      [](const Args& args) { return mma_dtype(args.dtype(), kMath) && mma_serves(args); },
      [](const Args& args) { return measured([&](Arena& arena) { mma_run(args, arena, {}); }); },
      [](const Args& args, void* workspace, Stream stream) {
        Arena arena(workspace);
        mma_run(args, arena, stream);
      }};
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
