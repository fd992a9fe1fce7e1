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

class MmaWidths : public testing::TestWithParam<ConvCase> {};

TEST_P(MmaWidths, Convolution) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const ConvCase& c = GetParam();
  for (const Expected& e : kExpected) {
    SCOPED_TRACE(name(e.dtype));
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
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MmaWidths, testing::ValuesIn(wide_cases()),
                         [](const auto& info) { return info.param.name; });

struct SplitCase {
  ConvCase c;
  int splits;  ///< of a half's forward in the smallest tile
};

void PrintTo(const SplitCase& s, std::ostream* out) { *out << s.c.name; }

const std::vector<SplitCase>& split_cases() {
  const ConvGeometry one{1, 0, false}, same{1, 1, false}, down{2, 1, false}, up{1, 1, true};
  static const std::vector<SplitCase> cases{
      {{"no_split", 1, 4, 4, 24, 0, 24, 3, same}, 1},
      {{"two", 2, 4, 4, 32, 0, 24, 3, same, true, 1}, 2},
      {{"three", 1, 8, 8, 24, 24, 24, 3, same, true, 0, 0, 0, true}, 3},
      {{"moments", 2, 8, 16, 32, 0, 24, 3, same, true, 1, 0, 0, true}, 2},
      {{"skip", 1, 4, 8, 16, 0, 70, 3, same, true, 0, 40, 88, true}, 2},
      {{"up", 1, 4, 4, 40, 0, 13, 3, up, true, 2}, 3},
      {{"down", 2, 7, 6, 40, 0, 72, 3, down}, 3},
      {{"one", 1, 3, 5, 512, 0, 16, 1, one}, 4},
      {{"wide_gradient", 1, 4, 4, 192, 0, 32, 3, same}, 11},
      {{"deep", 1, 4, 4, 256, 0, 16, 3, same, true, 0, 0, 0, true}, 18},
  };
  return cases;
}

class MmaSplits : public testing::TestWithParam<SplitCase> {
 protected:
  // Threads that run in another order must give the same bits: asked of one dtype.
  static bool orders(const Expected& e) { return e.dtype == DType::f16; }
};

// The parts of a sum, one step and many in each, with every epilogue.
TEST_P(MmaSplits, Forward) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const ConvCase& c = GetParam().c;
  EXPECT_EQ(
      split_count(kMmaTiles[0],
                  {c.n * conv_out(c.h, c.taps, c.geometry) * conv_out(c.w, c.taps, c.geometry), c.k,
                   c.taps * c.taps * (c.c0 + c.c1) + c.skip0 + c.skip1, DType::f16}),
      GetParam().splits);
  for (const Expected& e : kExpected) {
    SCOPED_TRACE(name(e.dtype));
    const ConvMaker make{c, e.dtype}, exact{c, DType::f64};
    const auto rows = expect_math(
        conv2d_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.y; }, e.least,
        e.most, orders(e));
    EXPECT_EQ(splitting(rows) > 0, GetParam().splits > 1 || e.dtype == DType::f32);
    if (c.stats)
      expect_math(
          conv2d_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.stats; }, 0,
          e.most, orders(e));
  }
}

TEST_P(MmaSplits, Gradients) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  for (const Expected& e : kExpected) {
    SCOPED_TRACE(name(e.dtype));
    const ConvMaker make{GetParam().c, e.dtype}, exact{GetParam().c, DType::f64};
    expect_math(
        conv2d_dgrad, e.math, make.dgrad(), exact.dgrad(), [](const auto& a) { return a.dx0; },
        e.least, e.most, orders(e));
    expect_math(
        conv2d_wgrad, e.math, make.wgrad(), exact.wgrad(), [](const auto& a) { return a.dw; }, 0,
        e.most, orders(e));
    expect_math(
        conv2d_wgrad, e.math, make.wgrad(), exact.wgrad(), [](const auto& a) { return a.dbias; }, 0,
        e.most, orders(e));
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, MmaSplits, testing::ValuesIn(split_cases()),
                         [](const auto& info) { return info.param.c.name; });

// A pixel that no tap of a strided convolution reaches has a gradient of zero.
TEST(MmaRows, UnreachedPixelsHaveNoGradient) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
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

class MmaLinear : public testing::TestWithParam<LinearCase> {};

TEST_P(MmaLinear, EveryProduct) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const LinearCase& c = GetParam();
  for (const Expected& e : kExpected) {
    SCOPED_TRACE(name(e.dtype));
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

INSTANTIATE_TEST_SUITE_P(Cases, MmaLinear,
                         testing::Values(LinearCase{"qkv", {2, 37}, 192, 96, true, true},
                                         LinearCase{"projection", {130}, 256, 192},
                                         LinearCase{"classes", {3}, 64, 256, false},
                                         LinearCase{"split", {40}, 192, 320},
                                         LinearCase{"odd", {70}, 300, 131}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MmaRows, ARequestForF32NeverGetsTf32) {
  const ConvCase& c = wide_cases().front();
  Conv2dFwdArgs args = ConvMaker{c, DType::f32}.fwd();
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  args = on_device(args, gpu().type);
  EXPECT_STREQ(choose_row(conv2d_fwd, args).name, "v2_tiled");
  const MathGuard guard(Math::tf32);
  EXPECT_EQ(choose_row(conv2d_fwd, args).math, Math::tf32);
}

}  // namespace
}  // namespace tiller::test
