#include "kernels/attention/attention.h"

#include "kernels/attention/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

struct Case {
  std::int64_t samples, tokens, heads, head_size;
  QkvOrder order = QkvOrder::legacy;
  bool one_query = false;
  bool slices = false;
  double scale = 1;  // of qkv: logits have a deviation of scale^2

  Shape qkv() const { return {samples, tokens, 3 * heads * head_size}; }
  Shape o() const { return {samples, one_query ? 1 : tokens, heads * head_size}; }
  Shape lse() const { return {samples, heads, one_query ? 1 : tokens}; }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "N=" << c.samples << " T=" << c.tokens << " NH=" << c.heads << " D=" << c.head_size << " "
       << name(c.order) << (c.one_query ? " one query" : "") << (c.slices ? " slices" : "");
}

Tensor maybe_slice(const Case& c, const Tensor& t) { return c.slices ? as_slice(t) : t; }

AttentionFwdArgs forward(const Case& c, DType dtype, DType through) {
  AttentionFwdArgs args;
  args.qkv = maybe_slice(c, input(c.qkv(), dtype, through, 1, c.scale));
  args.o = maybe_slice(c, output(c.o(), dtype));
  args.lse = output(c.lse(), accumulate_dtype(dtype));
  args.heads = c.heads;
  args.order = c.order;
  args.one_query = c.one_query;
  return args;
}

// o and lse are the reference's, made in the same dtype.
AttentionBwdArgs backward(const Case& c, DType dtype, DType through) {
  const AttentionFwdArgs f = forward(c, dtype, through);
  {
    ForceRows reference("attention_fwd:reference");
    run_here(attention_fwd, f);
  }
  AttentionBwdArgs args;
  args.qkv = f.qkv;
  args.o = f.o;
  args.lse = f.lse;
  args.d_o = maybe_slice(c, input(c.o(), dtype, through, 2));
  args.dqkv = maybe_slice(c, output(c.qkv(), dtype));
  args.heads = c.heads;
  args.order = c.order;
  args.one_query = c.one_query;
  return args;
}

// q, k and v in their own places.
Outputs parts(const AttentionBwdArgs& args) { return {{"dqkv", args.dqkv}}; }

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, ForwardRowsAgreeWithTheReference) {
  const auto make = [&](DType dtype, DType through) { return forward(GetParam(), dtype, through); };
  const auto collect = [](const auto& a) { return Outputs{{"o", a.o}, {"lse", a.lse}}; };
  expect_rows_agree(attention_fwd, make, collect, 2);
}

TEST_P(AttentionTest, BackwardRowsAgreeWithTheReference) {
  const auto make = [&](DType dtype, DType through) {
    return backward(GetParam(), dtype, through);
  };
  if (GetParam().tokens == 1) return;  // dq and dk vanish there: see below
  expect_rows_agree(attention_bwd, make, parts, 3);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         testing::Values(Case{2, 1, 2, 8}, Case{2, 2, 3, 8}, Case{1, 64, 2, 64},
                                         Case{2, 65, 2, 32, QkvOrder::split}, Case{1, 100, 1, 96},
                                         Case{1, 256, 2, 64, QkvOrder::split},
                                         Case{2, 65, 3, 8, QkvOrder::legacy, false, true},
                                         Case{1, 33, 2, 13, QkvOrder::split, false, true},
                                         Case{1, 7, 1, 3},
                                         Case{2, 65, 4, 32, QkvOrder::split, true},
                                         Case{2, 17, 2, 64, QkvOrder::legacy, true, true},
                                         Case{1, 130, 2, 72},
                                         Case{1, 80, 1, 64, QkvOrder::legacy, false, false, 3}));

TEST(AttentionOpTest, OneTokenCopiesItsValue) {
  const Case c{2, 1, 2, 8};
  AttentionBwdArgs b = backward(c, DType::f32, DType::f32);
  for_each_row(attention_bwd, b, [&](const auto&) {
    poison(b.dqkv);
    run_here(attention_bwd, b);
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t d = 0; d < 8; ++d) {
          EXPECT_NEAR(qkv_at<const float>(b.dqkv, b, n, 0, 0, h)[d], 0, 1e-6);
          EXPECT_NEAR(qkv_at<const float>(b.dqkv, b, n, 0, 1, h)[d], 0, 1e-6);
          EXPECT_NEAR(qkv_at<const float>(b.dqkv, b, n, 0, 2, h)[d],
                      row_of<const float>(b.d_o, n)[h * 8 + d], 1e-6);
        }
  });
}

// Logits of +-1e4 would overflow exp; -inf must not make NaN of the streaming maximum either.
TEST(AttentionOpTest, LargeLogitsPickOneToken) {
  const Case c{1, 70, 1, 16};
  AttentionFwdArgs args = forward(c, DType::f32, DType::f32);
  for (std::int64_t t = 0; t < c.tokens; ++t)
    for (std::int64_t d = 0; d < 16; ++d) {
      row_of<float>(args.qkv, t)[d] = 100;
      row_of<float>(args.qkv, t)[16 + d] = static_cast<float>(t) - 40.0f;
    }
  for_each_row(attention_fwd, args, [&](const auto&) {
    poison(args.o);
    run_here(attention_fwd, args);
    for (std::int64_t d = 0; d < 16; ++d)
      EXPECT_FLOAT_EQ(row_of<float>(args.o, 3)[d], row_of<float>(args.qkv, 69)[32 + d]);
  });
}

TEST(AttentionOpTest, LseIsOptional) {
  const Case c{1, 20, 2, 8};
  AttentionFwdArgs with = forward(c, DType::f32, DType::f32), without = with;
  for_each_row(attention_fwd, with, [&](const auto&) {
    run_here(attention_fwd, with);
    without.o = output(c.o(), DType::f32);
    without.lse = {};
    check(without);
    run_here(attention_fwd, without);
    EXPECT_EQ(doubles(with.o), doubles(without.o));
  });
}

TEST(AttentionOpTest, GradientMatchesNumericalDifferences) {
  for (const bool one_query : {false, true})
    for (const QkvOrder order : {QkvOrder::legacy, QkvOrder::split}) {
      const Case c{2, 5, 2, 3, order, one_query};
      const AttentionFwdArgs f = forward(c, DType::f64, DType::f64);
      const AttentionBwdArgs b = backward(c, DType::f64, DType::f64);  // the same values
      const Tensor expected = numerical_gradient(f.qkv, [&] {
        run_here(attention_fwd, f);
        return weighted_sum(b.d_o, f.o);
      });
      run_here(attention_bwd, b);
      EXPECT_LE(relative_error(b.dqkv, expected), 1e-8);
    }
}

TEST(AttentionOpTest, CostIsWhatTheReferenceDoes) {
  for (const bool one_query : {false, true}) {
    const Case c{2, 5, 2, 4, QkvOrder::split, one_query};
    AttentionFwdArgs f = forward(c, DType::f64, DType::f64);
    expect_cost(f, attention_fwd_reference<Counted>, {f.qkv, f.o, f.lse});
    f.lse = {};
    expect_cost(f, attention_fwd_reference<Counted>, {f.qkv, f.o});
    const AttentionBwdArgs b = backward(c, DType::f64, DType::f64);
    expect_cost(b, attention_bwd_reference<Counted>, {b.qkv, b.o, b.lse, b.d_o, b.dqkv});
  }
}

TEST(AttentionOpTest, OrdersAreStrides) {
  const QkvStrides legacy = qkv_strides(QkvOrder::legacy, 4, 32);
  EXPECT_EQ(legacy.part, 32);
  EXPECT_EQ(legacy.head, 96);
  const QkvStrides split = qkv_strides(QkvOrder::split, 4, 32);
  EXPECT_EQ(split.part, 128);
  EXPECT_EQ(split.head, 32);
}

TEST(AttentionOpTest, WrongArgumentsAreNamed) {
  AttentionFwdArgs args = forward({2, 5, 2, 8}, DType::f32, DType::f32);
  args.heads = 3;
  EXPECT_EQ(message_of([&] { check(args); }),
            "attention: 3C=48 is not divisible by 3 * heads=3, qkv f32[2,5,48]");
  args.heads = 2;
  args.one_query = true;
  EXPECT_EQ(message_of([&] { check(args); }),
            "attention: o is f32[2,5,16], not f32[2,1,16] as qkv f32[2,5,48] asks");
}

}  // namespace
}  // namespace tiller
