// The tensor-core rows of attention: every head size, lengths around a tile's, against the f64
// reference.
#include "kernels/attention/attention.h"
#include "tests/kernels/agree.h"

namespace tiller::test {
namespace {

struct Case {
  std::int64_t samples, tokens, heads, head_size;
  QkvOrder order = QkvOrder::legacy;
  double scale = 1;     // of qkv: logits have a deviation of scale^2
  bool slices = false;  // of wider tensors, aligned to vectors

  Shape qkv() const { return {samples, tokens, 3 * heads * head_size}; }
  Shape o() const { return {samples, tokens, heads * head_size}; }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "N=" << c.samples << " T=" << c.tokens << " NH=" << c.heads << " D=" << c.head_size << " "
       << name(c.order) << (c.slices ? " slices" : "");
}

Tensor maybe_slice(const Case& c, const Tensor& t) { return c.slices ? as_slice(t, 8, 16) : t; }

AttentionFwdArgs forward(const Case& c, DType dtype, DType through) {
  AttentionFwdArgs args;
  args.qkv = maybe_slice(c, input(c.qkv(), dtype, through, 1, c.scale));
  args.o = maybe_slice(c, output(c.o(), dtype));
  args.lse = output({c.samples, c.heads, c.tokens}, accumulate_dtype(dtype));
  args.heads = c.heads;
  args.order = c.order;
  return args;
}

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
  return args;
}

// Runs simt's row for halves on poisoned outputs in two orders of threads, which must give the same
// bits. The result may be `factor` times as far from the f64 one of unrounded inputs as the rounded
// f64 result of rounded inputs is. `briefly`: f16 in one order, for the longest.
template <class Args, class Make, class Collect>
void expect_halves(const Op<Args>& op, const Make& make, const Collect& collect, double factor,
                   bool briefly) {
  const std::string reference_row = std::string(op.name) + ":reference";
  Outputs exact;
  {
    ForceRows reference(reference_row);
    exact = outputs_of<Args>(op, make, collect, DType::f64, DType::f64);
  }
  for (const DType dtype : {DType::f16, DType::bf16}) {
    if (briefly && dtype == DType::bf16) continue;
    SCOPED_TRACE(name(dtype));
    Outputs rounded;
    {
      ForceRows reference(reference_row);
      rounded = outputs_of<Args>(op, make, collect, DType::f64, dtype);
    }
    int rows = 0;
    for_each_row(op, make(dtype, dtype), [&](const Row<Args>& row) {
      if (row.math != Math::half) return;
      ++rows;
      const Outputs got = outputs_of<Args>(op, make, collect, dtype, dtype);
      for (const auto& [key, tensor] : got) {
        SCOPED_TRACE(key);
        const Tensor& want = rounded.at(key);
        const Tensor baseline = tensor_of(doubles(want), want.shape(), tensor.dtype());
        const double limit = factor * relative_error(baseline, exact.at(key));
        EXPECT_LE(relative_error(tensor, exact.at(key)), std::max(limit, 1e-5));
      }
      if (briefly || dtype == DType::bf16) return;
      const VariationGuard descending(row.device, 1);
      for (const auto& [key, tensor] : outputs_of<Args>(op, make, collect, dtype, dtype))
        EXPECT_EQ(doubles(tensor), doubles(got.at(key))) << key;
    });
    EXPECT_EQ(rows, 1) << "one configuration for each head size";
  }
}

class AttentionMma : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!available(gpu())) GTEST_SKIP() << no_gpu();
  }
};

TEST_P(AttentionMma, Forward) {
  const auto make = [&](DType dtype, DType through) { return forward(GetParam(), dtype, through); };
  expect_halves(
      attention_fwd, make,
      [](const auto& a) {
        return Outputs{{"o", a.o}, {"lse", a.lse}};
      },
      2, GetParam().tokens > 100);
}

TEST_P(AttentionMma, Backward) {
  const auto make = [&](DType dtype, DType through) {
    return backward(GetParam(), dtype, through);
  };
  expect_halves(
      attention_bwd, make,
      [](const auto& a) {
        return Outputs{{"dqkv", a.dqkv}};
      },
      3, GetParam().tokens > 100);
}

constexpr auto kSplit = QkvOrder::split, kLegacy = QkvOrder::legacy;
INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionMma,
    testing::Values(Case{2, 1, 2, 64}, Case{1, 63, 2, 64, kSplit}, Case{2, 64, 2, 64},
                    Case{1, 65, 1, 64, kLegacy, 3}, Case{2, 33, 2, 64, kSplit, 1, true},
                    Case{1, 256, 1, 64, kSplit}, Case{1, 300, 1, 64}, Case{1, 65, 1, 96},
                    Case{2, 63, 1, 96, kSplit}, Case{1, 65, 1, 128, kSplit, 2},
                    Case{2, 20, 2, 128, kLegacy, 1, true}, Case{1, 65, 1, 192},
                    Case{2, 17, 2, 192, kSplit}, Case{1, 65, 1, 256, kLegacy, 1, true},
                    Case{2, 9, 1, 256, kSplit, 2}));

// Who serves what: one query and unaligned slices stay with the plain row, as do f32 and other head
// sizes.
TEST(AttentionMmaRows, ServeWhatTheySay) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const auto row = [](AttentionFwdArgs args) {
    return std::string(choose_row(attention_fwd, on_device(args, gpu().type)).name);
  };
  for (const std::int64_t size : {64, 96, 128, 192, 256})
    EXPECT_EQ(row(forward({1, 5, 2, size}, DType::f16, DType::f16)),
              fmt::format("v2_mma@{}", size));
  EXPECT_EQ(row(forward({1, 5, 2, 64}, DType::f32, DType::f32)), "v1_plain");
  EXPECT_EQ(row(forward({1, 5, 2, 32}, DType::f16, DType::f16)), "v1_plain");
  AttentionFwdArgs args = forward({1, 5, 2, 64}, DType::f16, DType::f16);
  args.qkv = as_slice(args.qkv);
  EXPECT_EQ(row(args), "v1_plain");
  args = forward({1, 5, 2, 64}, DType::f16, DType::f16);
  args.one_query = true;
  args.o = output({1, 1, 128}, DType::f16);
  args.lse = {};
  EXPECT_EQ(row(args), "v1_plain");
}

// Without lse the result is the same, and scores of +-1e4 pick one token instead of overflowing.
TEST(AttentionMmaRows, LargeLogitsAndNoLse) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  AttentionFwdArgs args = forward({1, 70, 1, 64}, DType::f16, DType::f16);
  args.lse = {};
  for (std::int64_t t = 0; t < 70; ++t)
    for (std::int64_t d = 0; d < 64; ++d) {
      row_of<f16>(args.qkv, t)[d] = f16(100);
      row_of<f16>(args.qkv, t)[64 + d] = f16(static_cast<float>(t) - 40.0f);
    }
  run_on(gpu().type, attention_fwd, args);
  for (std::int64_t d = 0; d < 64; ++d)
    EXPECT_EQ(row_of<f16>(args.o, 3)[d].bits, row_of<f16>(args.qkv, 69)[128 + d].bits);
}

}  // namespace
}  // namespace tiller::test
