// What is particular to the Winograd rows: their blocks and groups of tiles, their error on long
// sums, and when they are chosen.
#include <array>
#include <cmath>
#include <numeric>

#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/gemm/isa.h"
#include "runtime/parallel.h"
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

// Of weights that are kept and, in the forward and the input gradient, made afresh; in phases for an
// up-sampled input.
std::vector<std::string> winograd_rows(const ConvGeometry& geometry, bool weight_gradient = false) {
  std::vector<std::string> rows{"v3_winograd"};
  if (!weight_gradient) rows.push_back("v5_winograd_fresh");
  if (geometry.up2x) rows.push_back("v7_winograd_phases");
  if (!Avx512::available()) return rows;
  rows.push_back("v4_winograd_avx512");
  if (!weight_gradient) rows.push_back("v6_winograd_fresh_avx512");
  if (geometry.up2x) rows.push_back("v8_winograd_phases_avx512");
  return rows;
}

Tensor in_f64(const Tensor& t) {
  return t ? tensor_of(doubles(t), t.shape(), DType::f64) : Tensor();
}

// Each row against the f64 reference.
void expect_close(const ConvCase& c) {
  Conv2dFwdArgs exact = ConvMaker{c, DType::f64}.fwd();
  const Conv2dFwdArgs args = ConvMaker{c, DType::f32}.fwd();
  exact.x0 = in_f64(args.x0), exact.w = in_f64(args.w), exact.bias = in_f64(args.bias);
  exact.residual = in_f64(args.residual);
  {
    const ForceRows force("conv2d_fwd:reference");
    run(conv2d_fwd, exact);
  }
  for (const std::string& row : winograd_rows(c.geometry)) {
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

void expect_close_input_gradient(const ConvCase& c) {
  Conv2dDgradArgs exact = ConvMaker{c, DType::f64}.dgrad();
  const Conv2dDgradArgs args = ConvMaker{c, DType::f32}.dgrad();
  exact.dy = in_f64(args.dy), exact.w = in_f64(args.w);
  {
    const ForceRows force("conv2d_dgrad:reference");
    run(conv2d_dgrad, exact);
  }
  for (const std::string& row : winograd_rows(c.geometry)) {
    SCOPED_TRACE(row);
    const ForceRows force("conv2d_dgrad:" + row);
    poison(args.dx0);
    run(conv2d_dgrad, args);
    EXPECT_LE(relative_error(args.dx0, exact.dx0), 1e-5);
  }
}

void expect_close_weight_gradient(const ConvCase& c) {
  Conv2dWgradArgs exact = ConvMaker{c, DType::f64}.wgrad();
  const Conv2dWgradArgs args = ConvMaker{c, DType::f32}.wgrad();
  exact.x0 = in_f64(args.x0), exact.dy = in_f64(args.dy);
  {
    const ForceRows force("conv2d_wgrad:reference");
    run(conv2d_wgrad, exact);
  }
  for (const std::string& row : winograd_rows(c.geometry, true)) {
    SCOPED_TRACE(row);
    const ForceRows force("conv2d_wgrad:" + row);
    poison(args.dw);
    poison(args.dbias);
    run(conv2d_wgrad, args);
    EXPECT_LE(relative_error(args.dw, exact.dw), 1e-5);
    EXPECT_LE(relative_error(args.dbias, exact.dbias), 1e-5);
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

TEST(Winograd, PhasesOfAnUpSampledImage) {
  const ConvGeometry up{1, 1, true};
  // Ragged tiles; an image in parts, then several in a block, with statistics and a residual of either
  // size.
  expect_close({"parts", 2, 37, 35, 24, 0, 40, 3, up, true, 1, 0, 0, true});
  expect_close({"small", 37, 5, 7, 24, 0, 40, 3, up, true, 2, 0, 0, true});
  expect_close_input_gradient({"parts", 2, 37, 35, 40, 0, 32, 3, up});
  expect_close_input_gradient({"small", 37, 5, 7, 40, 0, 32, 3, up});
}

// Enough blocks that each thread takes whole ones, and too few; the bits are the same.
TEST(Winograd, AResultDoesNotDependOnTheThreads) {
  const int before = threads();
  for (const bool up : {false, true}) {
    const ConvCase c{"threads", 5, 24, 26, 24, 0, 32, 3, {1, 1, up}, true, 0, 0, 0, true};
    const ConvMaker make{c, DType::f32};
    const Conv2dFwdArgs fwd = make.fwd();
    const Conv2dDgradArgs dgrad = make.dgrad();
    const Conv2dWgradArgs wgrad = make.wgrad();
    const auto results = [&](const std::string& row, int count) {
      set_threads(count);
      const ForceRows force("conv2d_fwd:" + row + ",conv2d_dgrad:" + row);
      run(conv2d_fwd, fwd);
      run(conv2d_dgrad, dgrad);
      return std::array{doubles(fwd.y), doubles(fwd.stats), doubles(dgrad.dx0)};
    };
    const auto weight_gradients = [&](const std::string& row, int count) {
      set_threads(count);
      const ForceRows force("conv2d_wgrad:" + row);
      run(conv2d_wgrad, wgrad);
      return std::array{doubles(wgrad.dw), doubles(wgrad.dbias)};
    };
    for (const std::string& row : winograd_rows(c.geometry)) {
      SCOPED_TRACE(row);
      EXPECT_EQ(results(row, 1), results(row, 2));
      EXPECT_EQ(results(row, 1), results(row, 64));
    }
    for (const std::string& row : winograd_rows(c.geometry, true)) {
      SCOPED_TRACE(row);
      EXPECT_EQ(weight_gradients(row, 1), weight_gradients(row, 2));
      EXPECT_EQ(weight_gradients(row, 1), weight_gradients(row, 64));
    }
  }
  set_threads(before);
}

TEST(Winograd, WeightGradientOfManyTiles) {
  // 675 tiles: chunks of them are added up, the last one shorter. Few filters are summed by each
  // thread for itself, many by all of them.
  expect_close_weight_gradient({"few", 3, 60, 58, 9, 0, 17, 3, {1, 1, false}});
  expect_close_weight_gradient({"many", 3, 60, 58, 40, 0, 48, 3, {1, 1, false}});
  expect_close_weight_gradient({"few_up", 3, 30, 58, 9, 0, 17, 3, {1, 1, true}});
  expect_close_weight_gradient({"many_up", 3, 30, 29, 40, 0, 80, 3, {1, 1, true}});
}

TEST(Winograd, ErrorOfALongSumIsSmall) {
  expect_close({"long", 1, 8, 8, 1536, 0, 24, 3, {1, 1, false}});
}

TEST(Winograd, AResultDoesNotDependOnTheBatch) {
  const ConvCase both{"both", 2, 32, 33, 70, 0, 33, 3, {1, 1, false}};
  const Conv2dFwdArgs args = ConvMaker{both, DType::f32}.fwd();
  for (const std::string& row : winograd_rows(both.geometry)) {
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
  const auto chosen = [](std::int64_t n, std::int64_t size, std::int64_t c, std::int64_t k,
                         bool up = false) {
    const ConvCase call{"call", n, size, size, c, 0, k, 3, {1, 1, up}};
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

  if (Avx512::available()) {  // three channels' taps fit its panels
    EXPECT_EQ(chosen(1, 8, 32, 3)[0], "v10_narrow_avx512");
    EXPECT_EQ(chosen(1, 8, 3, 32)[1], "v10_narrow_avx512");
    EXPECT_EQ(chosen(1, 8, 32, 4), none);
  }

  const std::string phased =
      Avx512::available() ? "v8_winograd_phases_avx512" : "v7_winograd_phases";
  EXPECT_EQ(chosen(2, 8, 32, 32, true), (Names{phased, phased, phased}));
  EXPECT_EQ(chosen(2, 8, 32, 40, true), (Names{phased, winograd, phased}));  // not whole strips
  EXPECT_EQ(chosen(32, 3, 32, 32, true), all);                               // less than a tile
  EXPECT_EQ(chosen(1, 16, 512, 512, true), (Names{winograd, winograd, phased}));  // many weights
}

// Interpolation is exact: a product of transforms is the correlation itself.
TEST(Winograd, TransformsOfOneChannelAreACorrelation) {
  for (const int size : {3, 2}) {
    SCOPED_TRACE(size);
    const WinogradTransforms& transforms = winograd_transforms_avx2(size);
    const int patch_size = transforms.patch(), products_count = transforms.products();
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
    transforms.input(pixels, 1, 0, {transformed, 8, 8});
    transforms.weight(&g[0][0], kWinogradFilters, false, kWinogradFilters, &weight[0][0],
                      kWinogradFilters);
    for (int e = 0; e < products_count; ++e)
      for (int k = 0; k < 8; ++k) products[e * 8 + k] = weight[e][k] * transformed[e * 8];
    transforms.output(products, 8, 8, y);
    for (int p = 0; p < 16; ++p) {
      float want = 0;
      for (int t = 0; t < size * size; ++t)
        want += g[t][0] * d[(p / 4 + t / size) * patch_size + p % 4 + t % size];
      for (int k = 0; k < 8; ++k) {
        const float multiple = static_cast<float>(k + 1);
        EXPECT_NEAR(y[p * 8 + k], want * multiple, 1e-5 * multiple) << p;
      }
    }
  }
}

// The gradient's transforms are the transposes of the output's and the weight's.
TEST(Winograd, GradientTransformsAreTransposes) {
  for (const int size : {3, 2}) {
    SCOPED_TRACE(size);
    const WinogradTransforms& transforms = winograd_transforms_avx2(size);
    const auto count = static_cast<std::size_t>(transforms.products());
    const std::vector<double> dy = doubles(randn({16}, DType::f32, 3));
    const std::vector<double> m = doubles(randn({36}, DType::f32, 4));
    const std::vector<double> taps = doubles(randn({9}, DType::f32, 5));
    float pixels[16], from[36 * 8], y[16 * 8], transformed[36], sum;
    const float* at[16];
    for (int i = 0; i < 16; ++i) {
      pixels[i] = static_cast<float>(dy[static_cast<std::size_t>(i)]);
      at[i] = pixels + i;
    }
    for (int e = 0; e < 36 * 8; ++e)
      from[e] = static_cast<float>(m[static_cast<std::size_t>(e / 8)]);
    transforms.output(from, 8, 8, y);
    transforms.output_gradient(at, 1, transformed, 1, &sum);
    EXPECT_NEAR(sum, std::accumulate(dy.begin(), dy.end(), 0.0), 1e-5);
    double left = 0, right = 0;  // <dy, A^T m A> and <A dy A^T, m>
    for (std::size_t p = 0; p < 16; ++p) left += dy[p] * static_cast<double>(y[p * 8]);
    for (std::size_t e = 0; e < count; ++e) right += m[e] * static_cast<double>(transformed[e]);
    EXPECT_NEAR(left, right, 1e-4 * std::abs(left));

    float g[9][kWinogradFilters], weight[36][kWinogradFilters];
    float products[36][kWinogradFilters], dg[9][kWinogradFilters];
    for (std::size_t f = 0; f < kWinogradFilters; ++f) {
      for (std::size_t t = 0; t < 9; ++t) g[t][f] = static_cast<float>(taps[t]);
      for (std::size_t e = 0; e < 36; ++e) products[e][f] = static_cast<float>(m[e]);
    }
    transforms.weight(&g[0][0], kWinogradFilters, false, kWinogradFilters, &weight[0][0],
                      kWinogradFilters);
    winograd_weight_gradients(size, products, dg);
    left = right = 0;  // <G g G^T, m> and <g, G^T m G>
    for (std::size_t e = 0; e < count; ++e) left += m[e] * static_cast<double>(weight[e][3]);
    for (std::size_t t = 0; t < static_cast<std::size_t>(size * size); ++t)
      right += taps[t] * static_cast<double>(dg[t][3]);
    EXPECT_NEAR(left, right, 1e-4 * std::abs(left));
  }
}

}  // namespace
}  // namespace tiller::test
