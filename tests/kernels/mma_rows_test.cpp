// The tensor-core rows: every width of tile on the channels that it is for, and tf32, which a
// request for f32 never gets.
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/linear_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

// Runs the rows of one mathematics and returns how many there were; each result must be within
// `most` of the f64 reference, and further than `least`: a row that computes in f32 is not what it
// says.
template <class Args, class Output>
int expect_math(const Op<Args>& op, Math math, const Args& args, const Args& exact,
                const Output& output, double least, double most) {
  {
    ForceRows reference(std::string(op.name) + ":reference");
    run_here(op, exact);
  }
  const MathGuard guard(args.dtype() == DType::f32 ? math : Math::f32);
  int rows = 0;
  for_each_row(op, args, [&](const Row<Args>& row) {
    if (row.math != math) return;
    poison(output(args));
    run_here(op, args);
    const double error = relative_error(output(args), output(exact));
    EXPECT_LE(error, most);
    EXPECT_GE(error, least);
    ++rows;
  });
  return rows;
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
  for (const ConvCase& c : wide_cases())
    for (const Expected& e : kExpected) {
      SCOPED_TRACE(c.name + " " + name(e.dtype));
      const ConvMaker make{c, e.dtype}, exact{c, DType::f64};
      EXPECT_GE(expect_math(
                    conv2d_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.y; },
                    e.least, e.most),
                c.k > 64 ? 2 : 1);
      const bool flat = c.geometry.stride == 1 && !c.geometry.up2x;
      EXPECT_GE(expect_math(
                    conv2d_dgrad, e.math, make.dgrad(), exact.dgrad(),
                    [](const auto& a) { return a.dx0; }, e.least, e.most),
                flat ? 1 : 0);
    }
}

TEST(MmaRows, LinearOfEveryWidth) {
  if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  const LinearCase cases[] = {{"qkv", {2, 37}, 192, 96, true, true},
                              {"projection", {130}, 256, 192},
                              {"classes", {3}, 64, 256, false}};
  for (const LinearCase& c : cases)
    for (const Expected& e : kExpected) {
      SCOPED_TRACE(std::string(c.name) + " " + name(e.dtype));
      const LinearMaker make{c, e.dtype}, exact{c, DType::f64};
      EXPECT_GE(expect_math(
                    linear_fwd, e.math, make.fwd(), exact.fwd(), [](const auto& a) { return a.y; },
                    e.least, e.most),
                3);
      EXPECT_GE(expect_math(
                    linear_dgrad, e.math, make.dgrad(), exact.dgrad(),
                    [](const auto& a) { return a.dx; }, e.least, e.most),
                1);
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
