// How products on tensor cores are cut into tiles and parts.
#include "kernels/gemm/mma_plan.h"

#include <gtest/gtest.h>

namespace tiller::test {
namespace {

std::string_view planned(std::int64_t m, std::int64_t n, std::int64_t k, DType dtype = DType::f16,
                         Math request = Math::half) {
  const char* row = plan_mma({m, n, k, dtype}, request);
  return row ? row : "";
}

TEST(MmaPlan, LargeMapsGetLargeTilesThatDivideTheChannels) {
  EXPECT_EQ(planned(64 * 64 * 64, 512, 9 * 512), "v3_mma@128x256");
  EXPECT_EQ(planned(64 * 64 * 64, 192, 9 * 192), "v3_mma@128x192");
  EXPECT_EQ(planned(64 * 64 * 64, 96, 9 * 96), "v3_mma@128x96");
  EXPECT_EQ(planned(64 * 64 * 64, 6, 9 * 192), "v3_mma@128x64");
}

// One picture's 8x8 map: twelve tiles of 64x64 for 132 multiprocessors.
TEST(MmaPlan, SmallMapsSplitTheirSums) {
  EXPECT_TRUE(planned(64, 768, 9 * 768).starts_with("v4_split_k@64x"));
  EXPECT_TRUE(planned(256, 576, 9 * 576).starts_with("v4_split_k@"));
  EXPECT_TRUE(planned(1024, 192, 9 * 192).starts_with("v4_split_k@"));
  EXPECT_TRUE(planned(64, 768, 9 * 768, DType::f32, Math::tf32).starts_with("v4_split_k_tf32@"));
  // Enough tiles: nothing to share. A short sum: not worth the parts.
  EXPECT_TRUE(planned(64 * 1024, 384, 9 * 384).starts_with("v3_mma@"));
  EXPECT_TRUE(planned(64, 768, 192).starts_with("v3_mma@64x"));
}

TEST(MmaPlan, TensorCoresServeHalvesAndTf32Only) {
  EXPECT_EQ(planned(4096, 256, 2304, DType::f32, Math::f32), "");
  EXPECT_EQ(planned(4096, 256, 2304, DType::f64, Math::tf32), "");
  EXPECT_TRUE(planned(4096, 256, 2304, DType::bf16).starts_with("v"));
}

// The widest tile's sums leave a thread no registers to read parts into.
TEST(MmaPlan, TheWidestTileSplitsNoSum) {
  for (const MmaTile& tile : kMmaTiles)
    EXPECT_TRUE(!tile.half_split || tile.rows * tile.width <= 128 * 192);
}

TEST(MmaPlan, NoPartOfASumIsEmptyOrShort) {
  for (const MmaTile& tile : kMmaTiles)
    for (const std::int64_t k : {1, 32, 250, 256, 257, 1000, 2304, 18432})
      for (const std::int64_t m : {1, 64, 1000, 100000})
        for (const DType dtype : {DType::f16, DType::f32}) {
          const std::int64_t steps = (k + step_terms(dtype) - 1) / step_terms(dtype);
          const std::int64_t splits = split_count(tile, {m, 256, k, dtype});
          ASSERT_GE(splits, 1);
          const std::int64_t each = (steps + splits - 1) / splits;
          EXPECT_LT((splits - 1) * each, steps) << "the last part is empty";
          if (splits > 1) {
            EXPECT_GE(each, 4);
            EXPECT_LE(splits * splits, steps) << "reading the parts takes longer than making them";
          }
        }
  EXPECT_EQ(split_count(kMmaTiles[0], {64, 64, 255, DType::f16}), 2);
  EXPECT_EQ(split_count(kMmaTiles[0], {64, 64, 224, DType::f16}), 1);
}

TEST(MmaPlan, ChunksOfPixelsCoverThemAll) {
  for (const std::int64_t pixels : {1, 31, 64, 127, 128, 255, 256, 1200, 65536, 4194304, 16777216})
    for (const std::int64_t tiles : {1, 5, 132, 4000}) {
      const WgradSplit split = split_wgrad(pixels, tiles);
      EXPECT_EQ(split.chunk % 32, 0);
      EXPECT_LE(split.chunk, 65536);
      EXPECT_GE(split.chunk * split.splits, pixels);
      EXPECT_LT(split.chunk * (split.splits - 1), pixels) << "the last chunk is empty";
      if (split.splits > 1) {
        EXPECT_GE(split.chunk, 128);
      }
    }
  EXPECT_EQ(split_wgrad(4096, 66).splits, 2);
  EXPECT_EQ(split_wgrad(4194304, 1000).splits, 64);
}

}  // namespace
}  // namespace tiller::test
