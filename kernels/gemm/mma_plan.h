#pragma once
// Which tile, and how many parts of the sum, a product on tensor cores gets. Plain arithmetic on
// sizes, so that a plan on meta chooses what a run chooses.
#include <cstdint>
#include <string_view>

#include "runtime/dtype.h"
#include "runtime/op.h"

namespace tiller {

/// A tile of rows x width results, and the rows of the operations that use it. Only some are worth
/// having with a split sum: a small map is served by small tiles.
struct MmaTile {
  int rows, width;
  const char *half, *tf32;              ///< v3_mma
  const char *half_split, *tf32_split;  ///< v4_split_k, or null
  bool normed = false;                  ///< whether halves may come through a group norm
};
inline constexpr MmaTile kMmaTiles[] = {
    {64, 64, "v3_mma@64x64", "v3_mma_tf32@64x64", "v4_split_k@64x64", "v4_split_k_tf32@64x64",
     true},
    {128, 64, "v3_mma@128x64", "v3_mma_tf32@128x64", nullptr, nullptr},
    {64, 128, "v3_mma@64x128", "v3_mma_tf32@64x128", "v4_split_k@64x128", "v4_split_k_tf32@64x128"},
    {128, 128, "v3_mma@128x128", "v3_mma_tf32@128x128", "v4_split_k@128x128",
     "v4_split_k_tf32@128x128", true},
    {128, 96, "v3_mma@128x96", "v3_mma_tf32@128x96", nullptr, nullptr, true},
    {128, 192, "v3_mma@128x192", "v3_mma_tf32@128x192", "v4_split_k@128x192",
     "v4_split_k_tf32@128x192"},
    {128, 256, "v3_mma@128x256", "v3_mma_tf32@128x256", nullptr, nullptr},
};
inline constexpr int kMmaTileCount = 7;

/// A product of m x n results, each a sum of k terms of `dtype`.
struct MmaSize {
  std::int64_t m, n, k;
  DType dtype;
  bool normed = false;  ///< a group norm stands before it
};

/// Terms of a step of the kernels: 64 bytes of every row.
inline constexpr std::int64_t step_terms(DType dtype) { return dtype == DType::f32 ? 16 : 32; }

/// Wide tiles serve channels that they divide; 64 serves any number, 128 any that is larger.
inline constexpr bool tile_fits(const MmaTile& tile, const MmaSize& size) {
  if (size.normed && !tile.normed) return false;
  if (tile.width == 64) return true;
  return tile.width == 128 ? size.n > 64 : size.n % tile.width == 0;
}

/// Multiprocessors that a launch should fill: an H100's. A constant, so that the order of additions
/// (and the last bit) is the same on every GPU.
inline constexpr std::int64_t kPlannedSms = 132;

/// In how many parts v4_split_k cuts a product's sum: as many as all multiprocessors can take at
/// once, at most the square root of its steps, none shorter than four steps. 1: there are too many
/// tiles, or nothing to cut.
int split_count(const MmaTile& tile, const MmaSize& size);

/// The row that the model of mma_plan.cpp holds for the fastest; null where tensor cores serve
/// nothing of the kind (f32 without tf32, f64).
const char* plan_mma(const MmaSize& size, Math request);

/// The parts of a weight gradient over `pixels` rows with `tiles` tiles of results: enough for all
/// multiprocessors, none shorter than 128 rows unless it is all, none longer than 65536.
struct WgradSplit {
  std::int64_t chunk, splits;
};
WgradSplit split_wgrad(std::int64_t pixels, std::int64_t tiles);
/// The side of wgrad's square tile: 128 unless either side of the result is small.
int wgrad_tile(std::int64_t k, std::int64_t columns);

}  // namespace tiller
