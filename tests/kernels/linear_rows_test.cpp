// Every CPU row against the f64 reference row.
#include "tests/kernels/linear_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

class LinearRows : public testing::TestWithParam<LinearCase> {};

TEST_P(LinearRows, Fwd) {
  const LinearCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    expect_rows(
        linear_fwd, dtype, 2,
        [&](DType d) {
          return LinearMaker{c, d}.fwd();
        },
        [](auto& a) {
          for (Tensor* t : {&a.x, &a.w, &a.bias, &a.residual, &a.y}) to_f64(*t);
        },
        [](auto& a, DType d) {
          for (Tensor* t : {&a.x, &a.w, &a.bias, &a.residual}) round_to(*t, d);
        },
        [](const auto& a) { return std::vector<Tensor>{a.y}; });
}
TEST_P(LinearRows, Dgrad) {
  const LinearCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    expect_rows(
        linear_dgrad, dtype, 3,
        [&](DType d) {
          return LinearMaker{c, d}.dgrad();
        },
        [](auto& a) {
          for (Tensor* t : {&a.dy, &a.w, &a.dx}) to_f64(*t);
        },
        [](auto& a, DType d) {
          for (Tensor* t : {&a.dy, &a.w}) round_to(*t, d);
        },
        [](const auto& a) { return std::vector<Tensor>{a.dx}; });
}
TEST_P(LinearRows, Wgrad) {
  const LinearCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    expect_rows(
        linear_wgrad, dtype, 3,
        [&](DType d) {
          return LinearMaker{c, d}.wgrad();
        },
        [](auto& a) {
          for (Tensor* t : {&a.x, &a.dy, &a.dw, &a.dbias}) to_f64(*t);
        },
        [](auto& a, DType d) {
          for (Tensor* t : {&a.x, &a.dy}) round_to(*t, d);
        },
        [](const auto& a) {
          return std::vector<Tensor>{a.dw, a.dbias};
        });
}

INSTANTIATE_TEST_SUITE_P(Cases, LinearRows, testing::ValuesIn(linear_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(LinearRow, ForgetsPackedWeightsOfAnOldVersion) {
  const LinearCase c{"version", {5}, 16, 24};
  const LinearMaker make{c, DType::f32};
  const LinearFwdArgs args = make.fwd();
  for_each_row(linear_fwd, args, [&](const auto&) {
    run_here(linear_fwd, args);
    const Tensor before = args.y.clone();
    args.w.copy_from(randn(args.w.shape(), DType::f32, 77));
    args.w.bump_version();
    run_here(linear_fwd, args);
    EXPECT_GT(relative_error(args.y, before), 0.1);
    args.w.copy_from(make.fwd().w);
    args.w.bump_version();
    run_here(linear_fwd, args);
    EXPECT_EQ(doubles(args.y), doubles(before));
  });
}

}  // namespace
}  // namespace tiller::test
