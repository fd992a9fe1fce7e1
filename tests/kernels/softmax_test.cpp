#include "kernels/softmax/softmax.h"

#include "kernels/softmax/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

Tensor some_labels(std::int64_t rows, std::int64_t k) {
  std::vector<std::int64_t> labels;
  for (std::int64_t m = 0; m < rows; ++m) labels.push_back((m * 7 + k - 1) % k);
  return Tensor::from(labels, {rows});
}

TEST(SoftmaxTest, RowsAgreeWithTheReference) {
  for (const std::int64_t k : {1, 5, 8, 64, 1000})
    for (const bool log : {false, true}) {
      if (k == 1 && log) continue;  // log 1 = 0 has no relative error
      SCOPED_TRACE(testing::Message() << "K=" << k << " log=" << log);
      const auto forward = [&](DType dtype, DType through) {
        return SoftmaxFwdArgs{as_slice(input({3, 13, k}, dtype, through, 1, 3)),
                              as_slice(output({3, 13, k}, dtype)), log};
      };
      expect_rows_agree(
          softmax_fwd, forward,
          [](const auto& a) {
            return Outputs{{"y", a.y}};
          },
          2);
      const auto backward = [&](DType dtype, DType through) {
        SoftmaxFwdArgs f{input({39, k}, DType::f64, DType::f64, 1, 2), output({39, k}, DType::f64),
                         log};
        run_here(softmax_fwd, f);
        const Tensor y =
            tensor_of(doubles(tensor_of(doubles(f.y), f.y.shape(), through)), f.y.shape(), dtype);
        return SoftmaxBwdArgs{as_slice(y), as_slice(input({39, k}, dtype, through, 2)),
                              as_slice(output({39, k}, dtype)), log};
      };
      if (k == 1) continue;  // the gradient is 0
      expect_rows_agree(
          softmax_bwd, backward,
          [](const auto& a) {
            return Outputs{{"dx", a.dx}};
          },
          3);
    }
}

TEST(SoftmaxTest, CrossEntropyRowsAgreeWithTheReference) {
  for (const std::int64_t k : {2, 10, 64, 1000}) {
    SCOPED_TRACE(k);
    const auto forward = [&](DType dtype, DType through) {
      return CrossEntropyFwdArgs{as_slice(input({17, k}, dtype, through, 1, 3)), some_labels(17, k),
                                 output({17}, accumulate_dtype(dtype))};
    };
    expect_rows_agree(
        cross_entropy_fwd, forward,
        [](const auto& a) {
          return Outputs{{"loss", a.loss}};
        },
        2);
    const auto backward = [&](DType dtype, DType through) {
      return CrossEntropyBwdArgs{as_slice(input({17, k}, dtype, through, 1, 3)), some_labels(17, k),
                                 input({17}, accumulate_dtype(dtype), DType::f32, 2),
                                 as_slice(output({17, k}, dtype))};
    };
    expect_rows_agree(
        cross_entropy_bwd, backward,
        [](const auto& a) {
          return Outputs{{"dlogits", a.dlogits}};
        },
        3);
  }
}

TEST(SoftmaxTest, LargeLogitsNeitherOverflowNorVanish) {
  for (const bool log : {false, true}) {
    SoftmaxFwdArgs args{Tensor::from(std::vector<float>{1e4f, 1e4f, -1e4f}, {1, 3}),
                        output({1, 3}, DType::f32), log};
    for_each_row(softmax_fwd, args, [&](const auto&) {
      run_here(softmax_fwd, args);
      const std::vector<float> y = args.y.to_vector<float>();
      EXPECT_NEAR(y[0], log ? -std::log(2.0) : 0.5, log ? 1e-3 : 1e-6);
      EXPECT_NEAR(y[2], log ? -2e4 - std::log(2.0) : 0, 2e-3);
    });
  }
}

TEST(SoftmaxTest, GradientsMatchNumericalDifferences) {
  const Tensor x = randn({3, 6}, DType::f64, 1), w = randn({3, 6}, DType::f64, 2);
  for (const bool log : {false, true}) {
    const SoftmaxFwdArgs f{x, output({3, 6}, DType::f64), log};
    const auto loss = [&] {
      run_here(softmax_fwd, f);
      return weighted_sum(w, f.y);
    };
    const Tensor expected = numerical_gradient(x, loss);
    run_here(softmax_fwd, f);
    const SoftmaxBwdArgs b{f.y, w, output({3, 6}, DType::f64), log};
    run_here(softmax_bwd, b);
    EXPECT_LE(relative_error(b.dx, expected), 1e-8);
  }
  const CrossEntropyFwdArgs f{x, some_labels(3, 6), output({3}, DType::f64)};
  const Tensor dloss = randn({3}, DType::f64, 3);
  const Tensor expected = numerical_gradient(x, [&] {
    run_here(cross_entropy_fwd, f);
    return weighted_sum(dloss, f.loss);
  });
  const CrossEntropyBwdArgs b{x, f.labels, dloss, output({3, 6}, DType::f64)};
  run_here(cross_entropy_bwd, b);
  EXPECT_LE(relative_error(b.dlogits, expected), 1e-8);
}

TEST(SoftmaxTest, CostIsWhatTheReferenceDoes) {
  const Tensor x = randn({3, 7}, DType::f64, 1), dy = randn({3, 7}, DType::f64, 2);
  const Tensor out = Tensor::zeros({3, 7}, DType::f64), rows = Tensor::zeros({3}, DType::f64);
  const Tensor labels = some_labels(3, 7);
  for (const bool log : {false, true}) {
    expect_cost(SoftmaxFwdArgs{x, out, log}, softmax_fwd_reference<Counted>, {x, out});
    expect_cost(SoftmaxBwdArgs{x, dy, out, log}, softmax_bwd_reference<Counted>, {x, dy, out});
  }
  expect_cost(CrossEntropyFwdArgs{x, labels, rows}, cross_entropy_fwd_reference<Counted>, {x, rows},
              24);
  expect_cost(CrossEntropyBwdArgs{x, labels, rows, out}, cross_entropy_bwd_reference<Counted>,
              {x, rows, out}, 24);
}

TEST(SoftmaxTest, WrongArgumentsAreNamed) {
  const Tensor x = Tensor::empty({3, 7});
  EXPECT_EQ(message_of([&] {
              check(SoftmaxFwdArgs{x, Tensor::empty({3, 8}), false});
            }),
            "softmax: y f32[3,8] does not match f32[3,7]");
  EXPECT_EQ(message_of([&] {
              check(SoftmaxFwdArgs{Tensor::empty({3, 0}), x, false});
            }),
            "softmax: f32[3,0] has no last dimension to sum over");
  EXPECT_EQ(message_of([&] {
              check(CrossEntropyFwdArgs{x, Tensor::empty({2}, DType::i64), Tensor::empty({3})});
            }),
            "cross_entropy: labels i64[2] are not i64[3] beside logits f32[3,7]");
}

TEST(SoftmaxTest, NoRowsAreNoWork) {
  const SoftmaxFwdArgs args{Tensor::empty({0, 5}), Tensor::empty({0, 5}), false};
  check(args);
  for_each_row(softmax_fwd, args, [&](const auto&) { run_here(softmax_fwd, args); });
}

}  // namespace
}  // namespace tiller
