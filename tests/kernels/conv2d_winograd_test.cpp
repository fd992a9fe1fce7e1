// What is particular to the Winograd rows: their blocks and groups of tiles, their error on long
// sums, and when they are chosen.
#include <array>
#include <numeric>
#include <cmath>

#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/gemm/isa.h"
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

std::vector<std::string> winograd_rows() {
  if (!Avx512::available()) return {"v3_winograd", "v5_winograd_fresh"};
  return {"v3_winograd", "v5_winograd_fresh", "v4_winograd_avx512", "v6_winograd_fresh_avx512"};
}

// One row against the f64 reference.
void expect_close(const ConvCase& c) {
  Conv2dFwdArgs exact = ConvMaker{c, DType::f64}.fwd();
  const Conv2dFwdArgs args = ConvMaker{c, DType::f32}.fwd();
  for (auto [to, from] : {std::pair(&exact.x0, &args.x0), std::pair(&exact.w, &args.w),
                          std::pair(&exact.bias, &args.bias)})
    *to = tensor_of(doubles(*from), from->shape(), DType::f64);
  {
    const ForceRows force("conv2d_fwd:reference");
    run(conv2d_fwd, exact);
  }
  for (const std::string& row : winograd_rows()) {
    SCOPED_TRACE(row);
    const ForceRows force("conv2d_fwd:" + row);
    poison(args.y);
    if (args.stats) poison(args.stats);
    run(conv2d_fwd, args);
    EXPECT_LE(relative_error(args.y, exact.y), 1e-5);
    if (args.stats) {
      EXPECT_LE(relative_error(args.stats, exact.stats), 1e-5);
    }
  }
}

TEST(Winograd, BlocksOfTilesMeetTheirOwnPixels) {
  // 90 tiles an image, more than a block, with ragged last tiles down and across.
  expect_close({"blocks", 2, 37, 35, 24, 0, 40, 3, {1, 1, false}, true, 0, 0, 0, true});
}

TEST(Winograd, GroupsOfBlocksShareTheWorkspace) {
  // The transformed input of the three images does not fit at once.
  expect_close({"groups", 3, 32, 32, 600, 0, 4, 3, {1, 1, false}});
}

TEST(Winograd, SmallImagesShareABlock) {
  // 4 and 6 tiles an image; the last block has fewer images, and every image statistics of its own.
  expect_close({"small", 37, 8, 8, 24, 0, 40, 3, {1, 1, false}, true, 0, 0, 0, true});
  expect_close({"ragged", 13, 5, 11, 24, 0, 40, 3, {1, 1, false}, true, 0, 0, 0, true});
}

TEST(Winograd, WeightGradientOfManyTiles) {
  // 675 tiles: chunks of them are added up, the last one shorter.
  const ConvCase c{"many", 3, 60, 58, 9, 0, 17, 3, {1, 1, false}};
  Conv2dWgradArgs exact = ConvMaker{c, DType::f64}.wgrad();
  const Conv2dWgradArgs args = ConvMaker{c, DType::f32}.wgrad();
  exact.x0 = tensor_of(doubles(args.x0), args.x0.shape(), DType::f64);
  exact.dy = tensor_of(doubles(args.dy), args.dy.shape(), DType::f64);
  {
    const ForceRows force("conv2d_wgrad:reference");
    run(conv2d_wgrad, exact);
  }
  for (const std::string& row : winograd_rows()) {
    if (row.find("fresh") != std::string::npos) continue;  // of weights, which this has not
    SCOPED_TRACE(row);
    const ForceRows force("conv2d_wgrad:" + row);
    poison(args.dw);
    poison(args.dbias);
    run(conv2d_wgrad, args);
    EXPECT_LE(relative_error(args.dw, exact.dw), 1e-5);
    EXPECT_LE(relative_error(args.dbias, exact.dbias), 1e-5);
  }
}

TEST(Winograd, ErrorOfALongSumIsSmall) {
  expect_close({"long", 1, 8, 8, 1536, 0, 24, 3, {1, 1, false}});
}

TEST(Winograd, AResultDoesNotDependOnTheBatch) {
  const ConvCase both{"both", 2, 32, 33, 70, 0, 33, 3, {1, 1, false}};
  const Conv2dFwdArgs args = ConvMaker{both, DType::f32}.fwd();
  for (const std::string& row : winograd_rows()) {
    SCOPED_TRACE(row);
    const ForceRows force("conv2d_fwd:" + row);
    run(conv2d_fwd, args);
    for (std::int64_t n = 0; n < 2; ++n) {
      Conv2dFwdArgs one = args;
      one.x0 = args.x0.slice(n, n + 1);
      one.y = Tensor::empty({1, 32, 33, 33});
      run(conv2d_fwd, one);
      EXPECT_EQ(doubles(one.y), doubles(args.y.slice(n, n + 1)));
    }
  }
}

TEST(Winograd, IsChosenWhereItPays) {
  const auto chosen = [](std::int64_t n, std::int64_t size, std::int64_t c, std::int64_t k) {
    const ConvCase call{"call", n, size, size, c, 0, k, 3, {1, 1, false}};
    const ConvMaker make{call, DType::f32};
    return std::array<std::string, 3>{choose_row(conv2d_fwd, make.fwd()).name,
                                      choose_row(conv2d_dgrad, make.dgrad()).name,
                                      choose_row(conv2d_wgrad, make.wgrad()).name};
  };
  const std::string direct = Avx512::available() ? "v2_indirect_avx512" : "v1_indirect";
  const std::string winograd = Avx512::available() ? "v4_winograd_avx512" : "v3_winograd";
  using Names = std::array<std::string, 3>;
  const Names none{direct, direct, direct}, guidance{winograd, winograd, direct},
      all{winograd, winograd, winograd};
  EXPECT_EQ(chosen(1, 32, 64, 2048), all);
  EXPECT_EQ(chosen(1, 19, 64, 2048), none);     // too many weights for a small map
  EXPECT_EQ(chosen(1, 8, 64, 1024), guidance);  // few weights
  EXPECT_EQ(chosen(1, 3, 64, 64), none);
  EXPECT_EQ(chosen(2, 16, 32, 32), all);  // 32 tiles
  EXPECT_EQ(chosen(1, 16, 32, 32), guidance);
  EXPECT_EQ(chosen(6, 16, 31, 32), none);
  EXPECT_EQ(chosen(6, 16, 32, 31), none);
}

// Interpolation is exact: a product of transforms is the correlation itself.
TEST(Winograd, TransformsOfOneChannelAreACorrelation) {
  const std::vector<double> patch = doubles(randn({36}, DType::f32, 1));
  const std::vector<double> taps = doubles(randn({9}, DType::f32, 2));
  float d[36], g[9][kWinogradFilters], transformed[36 * 8], weight[36][kWinogradFilters];
  float products[36 * 8], y[16 * 8];
  const float* pixels[36];
  for (int i = 0; i < 36; ++i) d[i] = static_cast<float>(patch[static_cast<std::size_t>(i)]);
  for (int i = 0; i < 9; ++i)  // eight filters, multiples of one
    for (int f = 0; f < kWinogradFilters; ++f)
      g[i][f] = static_cast<float>(taps[static_cast<std::size_t>(i)] * (f + 1));
  for (int i = 0; i < 36; ++i) pixels[i] = d + i;
  winograd_transforms_avx2(3).input(pixels, 1, 0, {transformed, 8, 8});
  winograd_transforms_avx2(3).weight(&g[0][0], kWinogradFilters, false, kWinogradFilters, &weight[0][0],
                                    kWinogradFilters);
  for (int e = 0; e < 36; ++e)
    for (int k = 0; k < 8; ++k) products[e * 8 + k] = weight[e][k] * transformed[e * 8];
  winograd_transforms_avx2(3).output(products, 8, 8, y);
  for (int p = 0; p < 16; ++p) {
    float want = 0;
    for (int t = 0; t < 9; ++t) want += g[t][0] * d[(p / 4 + t / 3) * 6 + p % 4 + t % 3];
    for (int k = 0; k < 8; ++k) {
      const float multiple = static_cast<float>(k + 1);
      EXPECT_NEAR(y[p * 8 + k], want * multiple, 1e-5 * multiple) << p;
    }
  }
}

// The gradient's transforms are the transposes of the output's and the weight's.
TEST(Winograd, GradientTransformsAreTransposes) {
  const std::vector<double> dy = doubles(randn({16}, DType::f32, 3));
  const std::vector<double> m = doubles(randn({36}, DType::f32, 4));
  const std::vector<double> taps = doubles(randn({9}, DType::f32, 5));
  float pixels[16], from[36 * 8], y[16 * 8], transformed[36], sum;
  const float* at[16];
  for (int i = 0; i < 16; ++i) {
    pixels[i] = static_cast<float>(dy[static_cast<std::size_t>(i)]);
    at[i] = pixels + i;
  }
  for (int e = 0; e < 36 * 8; ++e) from[e] = static_cast<float>(m[static_cast<std::size_t>(e / 8)]);
  winograd_transforms_avx2(3).output(from, 8, 8, y);
  winograd_transforms_avx2(3).output_gradient(at, 1, transformed, 1, &sum);
  EXPECT_NEAR(sum, std::accumulate(dy.begin(), dy.end(), 0.0), 1e-5);
  double left = 0, right = 0;  // <dy, A^T m A> and <A dy A^T, m>
  for (std::size_t p = 0; p < 16; ++p) left += dy[p] * static_cast<double>(y[p * 8]);
  for (std::size_t e = 0; e < 36; ++e) right += m[e] * static_cast<double>(transformed[e]);
  EXPECT_NEAR(left, right, 1e-4 * std::abs(left));

  float g[9][kWinogradFilters], weight[36][kWinogradFilters];
  float products[36][kWinogradFilters], dg[9][kWinogradFilters];
  for (std::size_t f = 0; f < kWinogradFilters; ++f) {
    for (std::size_t t = 0; t < 9; ++t) g[t][f] = static_cast<float>(taps[t]);
    for (std::size_t e = 0; e < 36; ++e) products[e][f] = static_cast<float>(m[e]);
  }
  winograd_transforms_avx2(3).weight(&g[0][0], kWinogradFilters, false, kWinogradFilters, &weight[0][0],
                                    kWinogradFilters);
  winograd_weight_gradients(3, products, dg);
  left = right = 0;  // <G g G^T, m> and <g, G^T m G>
  for (std::size_t e = 0; e < 36; ++e) left += m[e] * static_cast<double>(weight[e][3]);
  for (std::size_t t = 0; t < 9; ++t) right += taps[t] * static_cast<double>(dg[t][3]);
  EXPECT_NEAR(left, right, 1e-4 * std::abs(left));
}

}  // namespace
}  // namespace tiller::test
