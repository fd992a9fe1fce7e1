// The tensor-core rows: every width of tile on the channels that it is for, and tf32, which a
// request for f32 never gets.
#include <algorithm>
#include <set>

#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/mma_plan.h"
#include "kernels/linear/linear.h"
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/linear_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

// Runs the rows of one mathematics and returns their names; each result must be within `most` of the
// f64 reference, and further than `least`: a row that computes in f32 is not what it says. Threads
// that run in another order must give the same bits.
template <class Args, class Output>
std::set<std::string> expect_math(const Op<Args>& op, Math math, const Args& args,
                                  const Args& exact, const Output& output, double least,
                                  double most, bool orders = false) {
  {
    ForceRows reference(std::string(op.name) + ":reference");
    run_here(op, exact);
  }
  const MathGuard guard(args.dtype() == DType::f32 ? math : Math::f32);
  std::set<std::string> rows;
  for_each_row(op, args, [&](const Row<Args>& row) {
    if (row.math != math) return;
    poison(output(args));
    run_here(op, args);
    const double error = relative_error(output(args), output(exact));
    EXPECT_LE(error, most);
    EXPECT_GE(error, least);
    rows.insert(row.name);
    if (!orders) return;
    const std::vector<double> first = doubles(output(args));
    const VariationGuard descending(row.device, 1);
    poison(output(args));
    run_here(op, args);
    EXPECT_EQ(doubles(output(args)), first);
  });
  return rows;
}

// How many of the rows split their sum.
std::size_t splitting(const std::set<std::string>& rows) {
  return static_cast<std::size_t>(std::count_if(
      rows.begin(), rows.end(), [](const std::string& row) { return row.starts_with("v4_"); }));
}

const std::vector<ConvCase>& wide_cases() {
  const ConvGeometry one{1, 0, false}, same{1, 1, false}, up{1, 1, true}, down{2, 1, false};
  // name, n, h, w, c0, c1, k, taps, geometry, bias, residual, skip0, skip1
  static const std::vector<ConvCase> cases{
      {"k96", 2, 5, 7, 16, 0, 96, 3, same, true, 1},
      {"k192_two_sources", 1, 6, 6, 24, 8, 192, 3, same},
      {"k256_skip", 1, 4, 5, 8, 0, 256, 3, same, true, 0, 16, 8},
      {"k96_up", 1, 3, 4, 8, 0, 96, 3, up, true, 2},
      {"k96_down", 1, 8, 6, 8, 0, 96, 3, down},
      {"k256_one", 2, 9, 8, 40, 0, 256, 1, one, false},
      {"c96", 1, 5, 6, 96, 0, 64, 3, same},
      {"c192", 1, 4, 5, 192, 0, 16, 3, same},
      {"c192_c64", 1, 4, 4, 192, 64, 16, 3, same},
  };
  return cases;
}

struct Expected {
  DType dtype;
  Math math;
  double least, most;
};
constexpr Expected kExpected[] = {{DType::f16, Math::half, 1e-5, 2e-3},
                                  {DType::bf16, Math::half, 1e-4, 2e-2},
                                  {DType::f32, Math::tf32, 1e-5, 2e-3}};

TEST(MmaRows, ConvolutionsOfEveryWidth) {
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  std::set<std::string> seen;
  for (const ConvCase& c : wide_cases())
    for (const Expected& e : kExpected) {
      SCOPED_TRACE(c.name + " " + name(e.dtype));
      const ConvMaker make{c, e.dtype}, exact{c, DType::f64};
      const auto forward = expect_math(
          conv2d_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.y; }, e.least,
          e.most);
      EXPECT_GE(forward.size(), c.k > 64 ? 4u : 2u);
      const auto back = expect_math(
          conv2d_dgrad, e.math, make.dgrad(), exact.dgrad(), [](const auto& a) { return a.dx0; },
          e.least, e.most);
      EXPECT_GE(back.size(), 2u);
      EXPECT_EQ(expect_math(
                    conv2d_wgrad, e.math, make.wgrad(), exact.wgrad(),
                    [](const auto& a) { return a.dw; }, e.least / 2, e.most)
                    .size(),
                1u);
      seen.insert(forward.begin(), forward.end());
    }
  for (const MmaTile& tile : kMmaTiles)
    for (const char* row : {tile.half, tile.tf32, tile.half_split, tile.tf32_split})
      if (row) {
        EXPECT_TRUE(seen.count(row)) << row;
      }
}

// The parts of a sum, one step and many in each, with every epilogue; and the same bits whatever the
// order of the threads.
TEST(MmaRows, SplitSums) {
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  const ConvGeometry one{1, 0, false}, same{1, 1, false}, down{2, 1, false}, up{1, 1, true};
  const struct {
    ConvCase c;
    int half_splits;  // of the smallest tile's forward
  } cases[] = {
      {{"no_split", 1, 4, 4, 24, 0, 24, 3, same}, 1},
      {{"two", 2, 4, 4, 32, 0, 24, 3, same, true, 1}, 2},
      {{"three", 1, 8, 8, 24, 24, 24, 3, same, true, 0, 0, 0, true}, 4},
      {{"skip", 1, 4, 8, 16, 0, 70, 3, same, true, 0, 40, 88, true}, 3},
      {{"up", 1, 4, 4, 40, 0, 13, 3, up, true, 2}, 3},
      {{"down", 2, 7, 6, 40, 0, 72, 3, down}, 3},
      {{"one", 1, 3, 5, 512, 0, 16, 1, one}, 4},
      {{"deep", 1, 4, 4, 640, 0, 16, 3, same, true, 0, 0, 0, true}, 30},
  };
  for (const auto& [c, splits] : cases) {
    const ConvMaker planned{c, DType::f16};
    EXPECT_EQ(split_count(kMmaTiles[0],
                          {c.n * planned.p() * planned.q(), c.k,
                           c.taps * c.taps * (c.c0 + c.c1) + c.skip0 + c.skip1, DType::f16}),
              splits)
        << c.name;
    for (const Expected& e : kExpected) {
      SCOPED_TRACE(c.name + " " + name(e.dtype));
      const ConvMaker make{c, e.dtype}, exact{c, DType::f64};
      const bool orders = e.dtype == DType::f16;
      const auto rows = expect_math(
          conv2d_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.y; }, e.least,
          e.most, orders);
      EXPECT_EQ(splitting(rows) > 0, splits > 1 || e.dtype == DType::f32);
      if (c.stats)
        expect_math(
            conv2d_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.stats; }, 0,
            e.most, orders);
      expect_math(
          conv2d_dgrad, e.math, make.dgrad(), exact.dgrad(), [](const auto& a) { return a.dx0; },
          e.least, e.most, orders);
      expect_math(
          conv2d_wgrad, e.math, make.wgrad(), exact.wgrad(), [](const auto& a) { return a.dw; }, 0,
          e.most, orders);
    }
  }
}

// Halves of zero: a pixel that no tap of a strided convolution reaches has a gradient of zero.
TEST(MmaRows, UnreachedPixelsHaveNoGradient) {
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  const ConvCase c{"one_down", 1, 5, 6, 16, 0, 24, 1, {2, 0, false}};
  const Conv2dDgradArgs args = ConvMaker{c, DType::f16}.dgrad();
  int rows = 0;
  for_each_row(conv2d_dgrad, args, [&](const Row<Conv2dDgradArgs>& row) {
    if (row.math != Math::half) return;
    poison(args.dx0);
    run_here(conv2d_dgrad, args);
    const std::vector<double> dx = doubles(args.dx0);
    for (std::int64_t i = 0; i < 5 * 6 * 16; ++i) {
      const bool reached = i / 16 / 6 % 2 == 0 && i / 16 % 6 % 2 == 0;
      EXPECT_EQ(dx[static_cast<std::size_t>(i)] != 0, reached) << i;
    }
    ++rows;
  });
  EXPECT_GE(rows, 2);
}

TEST(MmaRows, LinearOfEveryWidth) {
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  const LinearCase cases[] = {{"qkv", {2, 37}, 192, 96, true, true},
                              {"projection", {130}, 256, 192},
                              {"classes", {3}, 64, 256, false},
                              {"odd", {70}, 300, 131}};
  for (const LinearCase& c : cases)
    for (const Expected& e : kExpected) {
      SCOPED_TRACE(std::string(c.name) + " " + name(e.dtype));
      const LinearMaker make{c, e.dtype}, exact{c, DType::f64};
      EXPECT_GE(expect_math(
                    linear_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.y; },
                    e.least, e.most)
                    .size(),
                4u);
      EXPECT_GE(expect_math(
                    linear_dgrad, e.math, make.dgrad(), exact.dgrad(),
                    [](const auto& a) { return a.dx; }, e.least, e.most)
                    .size(),
                2u);
      EXPECT_EQ(expect_math(
                    linear_wgrad, e.math, make.wgrad(), exact.wgrad(),
                    [](const auto& a) { return a.dw; }, 0, e.most)
                    .size(),
                1u);
    }
}

TEST(MmaRows, ARequestForF32NeverGetsTf32) {
  const ConvCase& c = wide_cases().front();
  Conv2dFwdArgs args = ConvMaker{c, DType::f32}.fwd();
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  args = on_device(args, DeviceType::simt);
  EXPECT_STREQ(choose_row(conv2d_fwd, args).name, "v2_tiled");
  const MathGuard guard(Math::tf32);
  EXPECT_EQ(choose_row(conv2d_fwd, args).math, Math::tf32);
}

}  // namespace
}  // namespace tiller::test
