#include "kernels/dropout/dropout.h"

#include "kernels/dropout/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

DropoutArgs make(const Shape& shape, DType dtype, DType through, double p,
                 std::uint32_t layer = 3) {
  return {as_slice(input(shape, dtype, through, 1)), as_slice(output(shape, dtype)), p,
          RandomKey{0x123456789ABCDEFull, 7, 5, RandomStream::dropout}, layer};
}

Outputs y_of(const DropoutArgs& args) { return {{"y", args.y}}; }

TEST(DropoutTest, RowsAgreeWithTheReference) {
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{2, 2, 2, 33}, Shape{2, 300, 61}, Shape{65}})
    for (const double p : {0.0, 0.1, 0.5, 1.0}) {
      SCOPED_TRACE(testing::Message() << to_string(shape) << " p=" << p);
      expect_rows_agree(
          dropout_fwd, [&](DType dtype, DType through) { return make(shape, dtype, through, p); },
          y_of, 2);
    }
}

TEST(DropoutTest, FastBitsAreTheReferences) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    std::vector<double> expected;
    const DropoutArgs args = make({2, 300, 61}, dtype, dtype, 0.3);
    for_each_row(dropout_fwd, args, [&](const Row<DropoutArgs>& row) {
      poison(args.y);
      run_here(dropout_fwd, args);
      if (row.kind == RowKind::reference) expected = doubles(args.y);
      EXPECT_EQ(doubles(args.y), expected);
    });
  }
}

TEST(DropoutTest, DropsByPhilox) {
  const std::int64_t n = 1000;
  const Tensor x = Tensor::empty({2, n});
  std::fill_n(x.data<float>(), 2 * n, 1.0f);
  const RandomKey key{42, 10, 3, RandomStream::dropout};
  const DropoutArgs args{x, output({2, n}, DType::f32), 0.25, key, 0};
  for_each_row(dropout_fwd, args, [&](const Row<DropoutArgs>&) {
    poison(args.y);
    run_here(dropout_fwd, args);
    for (std::uint32_t entry = 0; entry < 2; ++entry) {
      RandomKey own = key;
      own.sample += entry;
      std::vector<float> uniform(static_cast<std::size_t>(n));
      philox_uniform(own, n, uniform.data());  // layer 0 is the plain counter
      for (std::int64_t e = 0; e < n; ++e)
        EXPECT_EQ(args.y.data<float>()[entry * n + e],
                  uniform[static_cast<std::size_t>(e)] < 0.25f ? 0 : 1 / 0.75f);
    }
  });
}

// Zeros of y, where x has none.
std::vector<bool> dropped(const DropoutArgs& args) {
  run_here(dropout_fwd, args);
  std::vector<bool> out;
  for (const double v : doubles(args.y)) out.push_back(v == 0);
  return out;
}

TEST(DropoutTest, ReplaysAndDiffersByLayerStepAndSample) {
  const auto with = [](std::uint32_t layer, std::uint32_t step, std::uint32_t sample) {
    DropoutArgs args = make({4, 500}, DType::f32, DType::f32, 0.5, layer);
    args.key.step = step;
    args.key.sample = sample;
    return dropped(args);
  };
  const std::vector<bool> first = with(1, 1, 0);
  EXPECT_EQ(with(1, 1, 0), first);
  EXPECT_NE(with(2, 1, 0), first);
  EXPECT_NE(with(1, 2, 0), first);
  // Entry n of a batch is sample + n: the second half of one batch is the first of the next.
  const std::vector<bool> next = with(1, 1, 2);
  EXPECT_TRUE(std::equal(first.begin() + 1000, first.end(), next.begin()));
  EXPECT_NEAR(static_cast<double>(std::count(first.begin(), first.end(), true)) / 2000, 0.5, 0.05);
}

TEST(DropoutTest, InPlaceOnItsGradientAndEmpty) {
  const Tensor x = randn({3, 50}, DType::f32, 1), kept = x.clone();
  DropoutArgs args{x, output({3, 50}, DType::f32), 0.4, {}, 9};
  for_each_row(dropout_fwd, args, [&](const Row<DropoutArgs>&) {
    run_here(dropout_fwd, args);
    x.copy_from(kept);
    DropoutArgs in_place = args;
    in_place.y = x;
    run_here(dropout_fwd, in_place);
    EXPECT_EQ(doubles(x), doubles(args.y));
    x.copy_from(kept);
    const DropoutArgs empty{Tensor::empty({0, 3}), Tensor::empty({0, 3}), 0.5, {}, 0};
    check(empty);
    run_here(dropout_fwd, empty);
  });
}

TEST(DropoutTest, CostIsWhatTheReferenceDoes) {
  const DropoutArgs args = make({3, 5, 7}, DType::f64, DType::f64, 0.5);
  expect_cost(args, dropout_reference<Counted>, {args.x, args.y});
}

TEST(DropoutTest, WrongArgumentsAreNamed) {
  DropoutArgs args = make({3, 5}, DType::f32, DType::f32, 1.5);
  EXPECT_NE(message_of([&] { check(args); }).find("p=1.5 is not within [0, 1]"), std::string::npos);
  args.p = 0.5;
  args.layer = 256;
  EXPECT_NE(message_of([&] { check(args); }).find("layer=256 is not below 256"), std::string::npos);
  const Tensor large = Tensor::empty({2, 1 << 14, 1 << 13}, DType::f32, kMeta);
  EXPECT_NE(message_of([&] {
              check(DropoutArgs{large, large, 0.5, {}, 0});
            }).find("more than"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
