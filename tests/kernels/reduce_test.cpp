#include "kernels/reduce/reduce.h"

#include "kernels/reduce/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

constexpr ReduceOver kOver[] = {ReduceOver::all, ReduceOver::features, ReduceOver::leading,
                                ReduceOver::spatial, ReduceOver::last};
constexpr ReduceKind kKinds[] = {ReduceKind::sum,         ReduceKind::mean,
                                 ReduceKind::sum_squares, ReduceKind::mean_squares,
                                 ReduceKind::sum_abs,     ReduceKind::max};

Shape reduced(ReduceOver over, const Shape& x) {
  switch (over) {
    case ReduceOver::all:
      return {};
    case ReduceOver::features:
      return {x[0]};
    case ReduceOver::leading:
      return {x[-1]};
    case ReduceOver::spatial:
      return {x[0], x[-1]};
    case ReduceOver::last:
      break;
  }
  return Shape(x.dims().first(static_cast<std::size_t>(x.rank() - 1)));
}

Outputs y_of(const auto& args) { return {{"y", args.y}}; }

// A slice where there is a dimension to slice.
Tensor maybe_slice(const Tensor& t) { return t.rank() == 0 ? t : as_slice(t); }

TEST(ReduceTest, RowsAgreeWithTheReference) {
  for (const ReduceOver over : kOver)
    for (const ReduceKind kind : kKinds)
      for (const Shape& shape :
           {Shape{3, 5, 7}, Shape{2, 3, 4, 9}, Shape{2, 70, 300}, Shape{4, 1}}) {
        if (shape.numel() > 1000 && kind != ReduceKind::sum && kind != ReduceKind::max) continue;
        SCOPED_TRACE(testing::Message()
                     << name(kind) << " over " << name(over) << to_string(shape));
        for (const bool wide : {false, true}) {
          if (wide && kind != ReduceKind::mean && shape.numel() > 10) continue;
          const auto make = [&](DType dtype, DType through) {
            const Tensor x = input(shape, dtype, through, 1, 1, 0.5);
            const DType to = wide ? accumulate_dtype(dtype) : dtype;
            return ReduceArgs{kind, over, wide ? x : as_slice(x),
                              maybe_slice(output(reduced(over, shape), to))};
          };
          expect_rows_agree(reduce, make, y_of<ReduceArgs>, 2);
        }
      }
}

TEST(ReduceTest, EachElementGoesWhereItBelongs) {
  const Shape shape{2, 3, 4, 5};
  const Tensor x = randn(shape, DType::f64, 1);
  const std::vector<double> values = doubles(x);
  for (const ReduceOver over : kOver) {
    SCOPED_TRACE(name(over));
    std::vector<double> expected(static_cast<std::size_t>(reduced(over, shape).numel()), 0.0);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t n = i / 60, c = i % 5;
      const std::size_t to = over == ReduceOver::all        ? 0
                             : over == ReduceOver::features ? n
                             : over == ReduceOver::leading  ? c
                             : over == ReduceOver::spatial  ? 5 * n + c
                                                            : i / 5;
      expected[to] += values[i];
    }
    const ReduceArgs args{ReduceKind::sum, over, x, output(reduced(over, shape), DType::f64)};
    run_here(reduce, args);
    EXPECT_LT(relative_error(args.y, tensor_of(expected, args.y.shape(), DType::f64)), 1e-14);
  }
}

TEST(ReduceTest, BroadcastIsTheTransposeOfTheSum) {
  const Shape shape{2, 3, 4, 5};
  for (const ReduceOver over : kOver) {
    SCOPED_TRACE(name(over));
    const Tensor x = randn(shape, DType::f64, 1), w = randn(reduced(over, shape), DType::f64, 2);
    const Tensor sum = output(reduced(over, shape), DType::f64), spread = output(shape, DType::f64);
    run_here(reduce, ReduceArgs{ReduceKind::sum, over, x, sum});
    run_here(broadcast_to, BroadcastToArgs{over, w, spread, 3});
    EXPECT_NEAR(3 * weighted_sum(sum, w), weighted_sum(x, spread), 1e-10);
  }
}

TEST(ReduceTest, BroadcastRowsAgreeWithTheReference) {
  for (const ReduceOver over : kOver)
    for (const double scale : {1.0, -0.375})
      for (const Shape& shape : {Shape{3, 5, 7}, Shape{2, 70, 300}, Shape{4, 1}}) {
        SCOPED_TRACE(testing::Message() << name(over) << to_string(shape));
        const auto make = [&](DType dtype, DType through) {
          const Tensor x = input(reduced(over, shape), dtype, through, 1);
          return BroadcastToArgs{over, maybe_slice(x), as_slice(output(shape, dtype)), scale};
        };
        expect_rows_agree(broadcast_to, make, y_of<BroadcastToArgs>, 2);
      }
}

TEST(ReduceTest, LongSumsStayExact) {
  const std::int64_t n = 3'000'001;
  const Tensor x = Tensor::empty({n});
  std::fill_n(x.data<float>(), n, 0.1f);
  const ReduceArgs args{ReduceKind::sum, ReduceOver::all, x, output({}, DType::f32)};
  for_each_row(reduce, args, [&](const Row<ReduceArgs>&) {
    run_here(reduce, args);
    const double exact = static_cast<double>(0.1f) * static_cast<double>(n);
    EXPECT_NEAR(doubles(args.y)[0] / exact, 1, 3e-6);
  });
}

TEST(ReduceTest, MaximumSeesNaN) {
  for (const std::int64_t at : {0, 1, 39, 99}) {
    const Tensor x = randn({100}, DType::f32, 1);
    x.data<float>()[at] = NAN;
    const ReduceArgs args{ReduceKind::max, ReduceOver::last, x, output({}, DType::f32)};
    for_each_row(reduce, args, [&](const Row<ReduceArgs>&) {
      args.y.data<float>()[0] = 0;
      run_here(reduce, args);
      EXPECT_TRUE(std::isnan(doubles(args.y)[0])) << at;
    });
  }
}

TEST(ReduceTest, NothingToSum) {
  for (const Shape& shape : {Shape{3, 0, 5}, Shape{0, 4}}) {
    const ReduceArgs sum{ReduceKind::sum, ReduceOver::leading, Tensor::empty(shape),
                         output({shape[-1]}, DType::f32)};
    check(sum);
    for_each_row(reduce, sum, [&](const Row<ReduceArgs>&) {
      poison(sum.y);
      run_here(reduce, sum);
      for (const double v : doubles(sum.y)) EXPECT_EQ(v, 0);
    });
    const BroadcastToArgs spread{ReduceOver::leading, sum.y, Tensor::empty(shape), 2};
    check(spread);
    for_each_row(broadcast_to, spread, [&](const auto&) { run_here(broadcast_to, spread); });
    EXPECT_EQ(cost(spread).bytes_read, 0);
  }
  const ReduceArgs none{ReduceKind::mean, ReduceOver::features, Tensor::empty({0, 4}),
                        Tensor::empty({0})};
  check(none);
  for_each_row(reduce, none, [&](const auto&) { run_here(reduce, none); });
}

TEST(ReduceTest, CostIsWhatTheReferenceDoes) {
  const Shape shape{2, 30, 3, 5};
  const Tensor x = as_slice(randn(shape, DType::f64, 1));
  for (const ReduceOver over : kOver) {
    const Tensor y = output(reduced(over, shape), DType::f64);
    for (const ReduceKind kind : kKinds) {
      SCOPED_TRACE(testing::Message() << name(kind) << " over " << name(over));
      expect_cost(ReduceArgs{kind, over, x, y}, reduce_reference<Counted>, {x, y});
    }
    const Tensor small = randn(reduced(over, shape), DType::f64, 2);
    for (const double scale : {1.0, 2.0})
      expect_cost(BroadcastToArgs{over, small, x, scale}, broadcast_to_reference<Counted>,
                  {small, x});
  }
}

TEST(ReduceTest, WrongArgumentsAreNamed) {
  const Tensor x = Tensor::empty({2, 3, 4});
  const auto message = [&](ReduceKind kind, ReduceOver over, const Tensor& from, const Tensor& y) {
    return message_of([&] { check(ReduceArgs{kind, over, from, y}); });
  };
  EXPECT_NE(message(ReduceKind::sum, ReduceOver::spatial, x, Tensor::empty({2, 3}))
                .find("y is f32[2,3], not [2,4]"),
            std::string::npos);
  EXPECT_NE(message(ReduceKind::sum, ReduceOver::spatial, Tensor::empty({2}), x)
                .find("over=spatial needs more dimensions than f32[2]"),
            std::string::npos);
  EXPECT_NE(message(ReduceKind::max, ReduceOver::all, Tensor::empty({0}), Tensor::empty({}))
                .find("the maximum of no elements"),
            std::string::npos);
  EXPECT_NE(message(ReduceKind::sum, ReduceOver::all, x, Tensor::empty({}, DType::f16))
                .find("neither of x's dtype"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
