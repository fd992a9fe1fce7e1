// The tensor-core rows: every width of tile on the channels that it is for, and tf32, which a
// request for f32 never gets.
#include <algorithm>
#include <set>

#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/mma_plan.h"
#include "kernels/linear/linear.h"
#include "runtime/backend.h"
#include "runtime/graph.h"
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
      {{"wide_gradient", 1, 4, 4, 192, 0, 32, 3, same}, 7},
      {{"deep", 1, 4, 4, 256, 0, 16, 3, same, true, 0, 0, 0, true}, 8},
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

// Moments of maps that lie within a tile, that take several, and that share tiles with their
// neighbours: they come from the launch that makes y, in any order of blocks and on any stream.
class MmaMoments : public testing::TestWithParam<ConvCase> {
 protected:
  class Kernels final : public TraceSink {
   public:
    void on_op(const OpEvent&) override {}
    void on_launch(const LaunchEvent& event) override {
      const std::string name = event.kernel;
      ++(name.starts_with("mma_")              ? products
         : name.starts_with("channel_moments") ? passes
                                               : other);
    }
    int products = 0, passes = 0, other = 0;
  };
};

const std::vector<ConvCase>& moment_cases() {
  const ConvGeometry one{1, 0, false}, same{1, 1, false};
  // name, n, h, w, c0, c1, k, taps, geometry, bias, residual, skip0, skip1, stats
  static const std::vector<ConvCase> cases{
      {"within_a_tile", 11, 4, 4, 32, 0, 24, 3, same, true, 1, 0, 0, true},
      {"half_a_tile", 3, 8, 8, 32, 0, 96, 3, same, false, 0, 0, 0, true},
      {"across_tiles", 3, 6, 8, 32, 0, 70, 3, same, true, 1, 0, 0, true},
      {"three_halves", 3, 8, 12, 32, 0, 66, 3, same, true, 0, 0, 0, true},
      {"many_tiles", 2, 28, 20, 256, 0, 13, 1, one, true, 0, 0, 0, true},
      {"wide", 2, 8, 16, 256, 0, 192, 1, one, true, 0, 0, 0, true},
  };
  return cases;
}

TEST_P(MmaMoments, ComeWithTheProduct) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const ConvCase& c = GetParam();
  const Conv2dFwdArgs args = ConvMaker{c, DType::f16}.fwd(), exact = ConvMaker{c, DType::f64}.fwd();
  {
    ForceRows reference("conv2d_fwd:reference");
    run_here(conv2d_fwd, exact);
  }
  std::size_t split = 0;
  for_each_row(conv2d_fwd, args, [&](const Row<Conv2dFwdArgs>& row) {
    if (row.math != Math::half) return;
    if (std::string_view(row.name).starts_with("v4_")) ++split;
    std::vector<double> y, stats;
    const auto again = [&](const std::string& how) {
      SCOPED_TRACE(how);
      poison(args.y);
      poison(args.stats);
      Kernels kernels;
      {
        const TraceGuard guard(kernels, TraceLevel::launches);
        run_here(conv2d_fwd, args);
      }
      EXPECT_EQ(kernels.products, 1);
      EXPECT_EQ(kernels.passes, 0);
      if (y.empty()) {
        y = doubles(args.y);
        stats = doubles(args.stats);
        EXPECT_LE(relative_error(args.y, exact.y), 2e-3);
        EXPECT_LE(relative_error(args.stats, exact.stats), 2e-3);
      }
      EXPECT_EQ(doubles(args.y), y);
      EXPECT_EQ(doubles(args.stats), stats);
    };
    again("first");
    again("with the same counters");
    using Kind = executor::Order::Kind;
    for (const executor::Order order : {executor::Order{Kind::descending, 0}, {Kind::random, 5}}) {
      const executor::OrderGuard guard(order);
      again(to_string(order));
    }
    const StreamGuard guard(Stream{gpu(), backend(gpu()).side_stream(1)});
    again("on another stream");
  });
  EXPECT_GE(split, 1U);
}

INSTANTIATE_TEST_SUITE_P(Cases, MmaMoments, testing::ValuesIn(moment_cases()),
                         [](const auto& info) { return info.param.name; });

// Branches of a captured step count with counters of their own, and each replay with the same.
TEST(MmaRows, SplitSumsInBranchesOfACapturedStep) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const ConvCase c{"branch", 3, 6, 8, 32, 0, 24, 3, {1, 1, false}, true, 1, 0, 0, true};
  const Conv2dFwdArgs host[] = {ConvMaker{c, DType::f16}.fwd(), ConvMaker{c, DType::f16}.fwd()};
  Conv2dFwdArgs args[] = {host[0], host[1]};
  Elsewhere there(gpu().type);
  for (Conv2dFwdArgs& a : args) move_args(a, there);
  const ForceRows split("conv2d_fwd:v4_split_k@64x64");
  StepGraph graph(gpu(), true);
  std::vector<double> y, stats;
  for (int step = 0; step < 4; ++step) {
    for (const Conv2dFwdArgs& a : host) {
      poison(a.y);
      poison(a.stats);
    }
    there.send();
    graph.run([&] {
      run_side_by_side(
          gpu(), [&] { run(conv2d_fwd, args[0]); }, [&] { run(conv2d_fwd, args[1]); });
    });
    there.bring_back();
    if (step == 0) {
      y = doubles(host[0].y);
      stats = doubles(host[0].stats);
    }
    for (const Conv2dFwdArgs& a : host) {
      EXPECT_EQ(doubles(a.y), y) << step;
      EXPECT_EQ(doubles(a.stats), stats) << step;
    }
  }
  EXPECT_TRUE(graph.captured());
  EXPECT_EQ(graph.nodes(), 2U) << "a launch for each";
}

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
                  e.least, e.most, e.dtype == DType::f16)
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
