// Every CPU row against the f64 reference row.
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

class Conv2dRows : public testing::TestWithParam<ConvCase> {};

std::vector<Tensor> outputs(const Conv2dFwdArgs& args) { return {args.y, args.stats}; }
std::vector<Tensor> outputs(const Conv2dDgradArgs& args) { return {args.dx0, args.dx1}; }
std::vector<Tensor> outputs(const Conv2dWgradArgs& args) { return {args.dw, args.dbias}; }

void widen(Conv2dFwdArgs& a) {
  for (Tensor* t : {&a.x0, &a.x1, &a.residual, &a.skip0, &a.skip1, &a.y}) to_f64(*t);
  for (Tensor* t : {&a.w, &a.bias, &a.skip_w, &a.skip_bias, &a.stats}) to_f64(*t);
}
void widen(Conv2dDgradArgs& a) {
  for (Tensor* t : {&a.dy, &a.w, &a.dx0, &a.dx1}) to_f64(*t);
}
void widen(Conv2dWgradArgs& a) {
  for (Tensor* t : {&a.x0, &a.x1, &a.dy, &a.dw, &a.dbias}) to_f64(*t);
}
void round_inputs(Conv2dFwdArgs& a, DType dtype) {
  for (Tensor* t :
       {&a.x0, &a.x1, &a.w, &a.bias, &a.residual, &a.skip0, &a.skip1, &a.skip_w, &a.skip_bias})
    round_to(*t, dtype);
}
void round_inputs(Conv2dDgradArgs& a, DType dtype) {
  for (Tensor* t : {&a.dy, &a.w}) round_to(*t, dtype);
}
void round_inputs(Conv2dWgradArgs& a, DType dtype) {
  for (Tensor* t : {&a.x0, &a.x1, &a.dy}) round_to(*t, dtype);
}

TEST_P(Conv2dRows, Fwd) {
  const ConvCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    expect_rows(
        conv2d_fwd, dtype, 2,
        [&](DType d) {
          return ConvMaker{c, d}.fwd();
        },
        [](auto& a) { widen(a); }, [](auto& a, DType d) { round_inputs(a, d); },
        [](const auto& a) { return outputs(a); });
}
TEST_P(Conv2dRows, Dgrad) {
  const ConvCase& c = GetParam();
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    expect_rows(
        conv2d_dgrad, dtype, 3,
        [&](DType d) {
          return ConvMaker{c, d}.dgrad();
        },
        [](auto& a) { widen(a); }, [](auto& a, DType d) { round_inputs(a, d); },
        [](const auto& a) { return outputs(a); });
}
void expect_wgrad_rows(const ConvCase& c) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    expect_rows(
        conv2d_wgrad, dtype, 3,
        [&](DType d) {
          return ConvMaker{c, d}.wgrad();
        },
        [](auto& a) { widen(a); }, [](auto& a, DType d) { round_inputs(a, d); },
        [](const auto& a) { return outputs(a); });
}
TEST_P(Conv2dRows, Wgrad) { expect_wgrad_rows(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Cases, Conv2dRows, testing::ValuesIn(conv_cases()),
                         [](const auto& info) { return info.param.name; });

// Weight gradients over so many pixels that they are summed in slices (kernels/gemm/outer.h).
const ConvCase kManyPixels[] = {{"picture", 2, 32, 33, 3, 0, 16, 3},
                                {"one", 1, 46, 45, 32, 9, 18, 1, {1, 0, false}}};

TEST(Conv2dRow, SumsTheWeightGradientOfManyPixels) {
  for (const ConvCase& c : kManyPixels) {
    SCOPED_TRACE(c.name);
    expect_wgrad_rows(c);
  }
}

TEST(Conv2dRow, ForgetsPackedWeightsOfAnOldVersion) {
  const ConvCase c{"version", 1, 5, 5, 16, 0, 24, 3};
  const ConvMaker make{c, DType::f32};
  const Conv2dFwdArgs args = make.fwd();
  const Conv2dDgradArgs back = make.dgrad();
  const auto twice = [&](const auto& op, const auto& a, const Tensor& out) {
    for_each_row(op, a, [&](const auto&) {
      const Tensor w = a.w.clone();
      run_here(op, a);
      const Tensor before = out.clone();
      a.w.copy_from(randn(a.w.shape(), DType::f32, 77));
      a.w.bump_version();
      run_here(op, a);
      EXPECT_GT(relative_error(out, before), 0.1);
      a.w.copy_from(w);
      a.w.bump_version();
      run_here(op, a);
      EXPECT_EQ(doubles(out), doubles(before));
    });
  };
  twice(conv2d_fwd, args, args.y);
  twice(conv2d_dgrad, back, back.dx0);
}

TEST(Conv2dRow, OnMetaChoosesTheSameRow) {
  const ConvCase c{"meta", 1, 6, 6, 16, 8, 24, 3, {1, 1, true}, true, 2, 0, 0, true};
  const Conv2dFwdArgs cpu = ConvMaker{c, DType::f32}.fwd();
  Conv2dFwdArgs meta = cpu;
  for (Tensor* t : {&meta.x0, &meta.x1, &meta.w, &meta.bias, &meta.residual, &meta.y, &meta.stats})
    *t = Tensor::empty(t->shape(), t->dtype(), kMeta);
  run_here(conv2d_fwd, meta);
  EXPECT_STREQ(choose_row(conv2d_fwd, meta).name, choose_row(conv2d_fwd, cpu).name);
  EXPECT_EQ(choose_row(conv2d_fwd, meta).kind, RowKind::fast);
}

}  // namespace
}  // namespace tiller::test
