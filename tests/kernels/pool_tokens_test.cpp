#include "kernels/pool_tokens/pool_tokens.h"

#include "kernels/pool_tokens/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

TEST(PoolTokensTest, RowsAgreeWithTheReference) {
  for (const auto& [tokens, channels] : {std::pair{1, 5}, {64, 32}, {65, 96}, {100, 203}}) {
    SCOPED_TRACE(testing::Message() << "T=" << tokens << " C=" << channels);
    const Shape x{3, tokens, channels}, y{3, 1 + tokens, channels}, pos{1 + tokens, channels};
    const auto forward = [&](DType dtype, DType through) {
      return PoolTokensFwdArgs{as_slice(input(x, dtype, through, 1)),
                               as_slice(input(pos, accumulate_dtype(dtype), DType::f32, 2)),
                               as_slice(output(y, dtype))};
    };
    expect_rows_agree(
        pool_tokens_fwd, forward,
        [](const auto& a) {
          return Outputs{{"y", a.y}};
        },
        2);
    for (const int which : {1, 2, 3}) {
      const auto backward = [&](DType dtype, DType through) {
        return PoolTokensBwdArgs{
            as_slice(input(y, dtype, through, 1)),
            which & 1 ? as_slice(output(x, dtype)) : Tensor(),
            which & 2 ? as_slice(output(pos, accumulate_dtype(dtype))) : Tensor()};
      };
      const auto collect = [](const PoolTokensBwdArgs& a) {
        Outputs outputs;
        if (a.dx) outputs["dx"] = a.dx;
        if (a.dpos) outputs["dpos"] = a.dpos;
        return outputs;
      };
      expect_rows_agree(pool_tokens_bwd, backward, collect, 3);
    }
  }
}

TEST(PoolTokensTest, GradientsMatchNumericalDifferences) {
  const Tensor x = randn({2, 3, 4}, DType::f64, 1), pos = randn({4, 4}, DType::f64, 2);
  const Tensor w = randn({2, 4, 4}, DType::f64, 3);
  const PoolTokensFwdArgs f{x, pos, output({2, 4, 4}, DType::f64)};
  const auto loss = [&] {
    run_here(pool_tokens_fwd, f);
    return weighted_sum(w, f.y);
  };
  const PoolTokensBwdArgs b{w, output(x.shape(), DType::f64), output(pos.shape(), DType::f64)};
  run_here(pool_tokens_bwd, b);
  EXPECT_LE(relative_error(b.dx, numerical_gradient(x, loss)), 1e-8);
  EXPECT_LE(relative_error(b.dpos, numerical_gradient(pos, loss)), 1e-8);
}

TEST(PoolTokensTest, CostIsWhatTheReferenceDoes) {
  const Tensor x = randn({2, 3, 4}, DType::f64, 1), pos = randn({4, 4}, DType::f64, 2);
  const Tensor y = randn({2, 4, 4}, DType::f64, 3);
  expect_cost(PoolTokensFwdArgs{x, pos, y}, pool_tokens_fwd_reference<Counted>, {x, pos, y});
  expect_cost(PoolTokensBwdArgs{y, x, pos}, pool_tokens_bwd_reference<Counted>, {x, pos, y});
  expect_cost(PoolTokensBwdArgs{y, x, {}}, pool_tokens_bwd_reference<Counted>, {x, pos, y});
  expect_cost(PoolTokensBwdArgs{y, {}, pos}, pool_tokens_bwd_reference<Counted>, {x, pos, y});
}

TEST(PoolTokensTest, WrongArgumentsAreNamed) {
  const PoolTokensFwdArgs args{Tensor::empty({2, 3, 4}), Tensor::empty({3, 4}),
                               Tensor::empty({2, 4, 4})};
  EXPECT_EQ(message_of([&] { check(args); }), "pool_tokens: pos is f32[3,4], not f32[4,4] on cpu");
}

}  // namespace
}  // namespace tiller
