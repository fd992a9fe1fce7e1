// What is particular to the Winograd rows: their blocks and groups of tiles, their error on long
// sums, and when they are chosen.
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
  const auto chosen = [](std::int64_t size, std::int64_t c, std::int64_t k) {
    const ConvCase call{"call", 1, size, size, c, 0, k, 3, {1, 1, false}};
    const ConvMaker make{call, DType::f32};
    return std::pair(choose_row(conv2d_fwd, make.fwd()).name,
                     choose_row(conv2d_dgrad, make.dgrad()).name);
  };
  const std::string direct = Avx512::available() ? "v2_indirect_avx512" : "v1_indirect";
  const std::string winograd = Avx512::available() ? "v4_winograd_avx512" : "v3_winograd";
  const auto expect = [](const auto& names, const std::string& row) {
    EXPECT_EQ(names.first, row);
    EXPECT_EQ(names.second, row);
  };
  expect(chosen(32, 64, 64), winograd);
  expect(chosen(31, 64, 64), direct);
  expect(chosen(32, 63, 64), direct);
  expect(chosen(32, 64, 63), direct);
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
  winograd_transforms_avx2().input(pixels, 1, 0, {transformed, 8, 8});
  winograd_weights(g, weight);
  for (int e = 0; e < 36; ++e)
    for (int k = 0; k < 8; ++k) products[e * 8 + k] = weight[e][k] * transformed[e * 8];
  winograd_transforms_avx2().output(products, 8, 8, y);
  for (int p = 0; p < 16; ++p) {
    float want = 0;
    for (int t = 0; t < 9; ++t) want += g[t][0] * d[(p / 4 + t / 3) * 6 + p % 4 + t % 3];
    for (int k = 0; k < 8; ++k) {
      const float multiple = static_cast<float>(k + 1);
      EXPECT_NEAR(y[p * 8 + k], want * multiple, 1e-5 * multiple) << p;
    }
  }
}

}  // namespace
}  // namespace tiller::test
