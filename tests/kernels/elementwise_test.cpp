#include "kernels/elementwise/elementwise.h"

#include <limits>

#include "kernels/elementwise/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

constexpr UnaryKind kUnary[] = {
    UnaryKind::copy, UnaryKind::affine, UnaryKind::clamp, UnaryKind::silu,   UnaryKind::exp,
    UnaryKind::log,  UnaryKind::sqrt,   UnaryKind::rsqrt, UnaryKind::square, UnaryKind::abs,
    UnaryKind::sign, UnaryKind::tanh,   UnaryKind::sin,   UnaryKind::cos,    UnaryKind::reciprocal};
constexpr BinaryKind kBinary[] = {BinaryKind::add, BinaryKind::mul, BinaryKind::div,
                                  BinaryKind::maximum, BinaryKind::minimum};
constexpr Broadcast kBroadcasts[] = {Broadcast::none, Broadcast::per_sample, Broadcast::per_channel,
                                     Broadcast::per_sample_channel};
constexpr DType kFloating[] = {DType::f32, DType::f16, DType::bf16, DType::f64};

// Where the function is defined and its value not nearly 0.
double offset_of(UnaryKind kind) {
  switch (kind) {
    case UnaryKind::log:
    case UnaryKind::sqrt:
    case UnaryKind::rsqrt:
    case UnaryKind::reciprocal:
      return 6;
    default:
      return 0;
  }
}

Outputs y_of(const auto& args) { return {{"y", args.y}}; }

Shape shape_of(Broadcast broadcast, const Shape& a) {
  switch (broadcast) {
    case Broadcast::per_sample:
      return {a[0]};
    case Broadcast::per_channel:
      return {a[-1]};
    case Broadcast::per_sample_channel:
      return {a[0], a[-1]};
    case Broadcast::none:
      break;
  }
  return a;
}

TEST(ElementwiseTest, UnaryRowsAgreeWithTheReference) {
  for (const UnaryKind kind : kUnary)
    for (const Shape& shape : {Shape{3, 5, 7}, Shape{2, 8501}}) {
      SCOPED_TRACE(testing::Message() << name(kind) << to_string(shape));
      const auto dense = [&](DType dtype, DType through) {
        return UnaryArgs{kind, input(shape, dtype, through, 1, 1, offset_of(kind)),
                         output(shape, dtype), -0.75, 0.5};
      };
      expect_rows_agree(unary, dense, y_of<UnaryArgs>, 2);
      if (shape.numel() > 1000 && kind != UnaryKind::silu && kind != UnaryKind::copy) continue;
      const auto slices = [&](DType dtype, DType through) {
        UnaryArgs args = dense(dtype, through);
        args.x = as_slice(args.x);
        args.y = as_slice(args.y, 1, 2);
        return args;
      };
      expect_rows_agree(unary, slices, y_of<UnaryArgs>, 2);
    }
}

TEST(ElementwiseTest, UnaryInPlace) {
  for (const UnaryKind kind : kUnary) {
    SCOPED_TRACE(name(kind));
    const auto make = [&](DType dtype, DType through) {
      const Tensor x = as_slice(input({4, 77}, dtype, through, 2, 1, offset_of(kind)));
      return UnaryArgs{kind, x, x, -1, 1};
    };
    expect_rows_agree(unary, make, y_of<UnaryArgs>, 2);
  }
}

TEST(ElementwiseTest, CopyCastsBetweenAllFloatingDtypes) {
  for (const DType from : kFloating)
    for (const DType to : kFloating) {
      SCOPED_TRACE(testing::Message() << name(from) << " to " << name(to));
      const Tensor x = as_slice(randn({37, 91}, from, 5, 100));
      const UnaryArgs args{UnaryKind::copy, x, as_slice(output({37, 91}, to), 2, 0)};
      const Tensor expected = tensor_of(doubles(x), x.shape(), to);
      for_each_row(unary, args, [&](const Row<UnaryArgs>&) {
        poison(args.y);
        run_here(unary, args);
        EXPECT_EQ(doubles(args.y), doubles(expected));
      });
    }
}

TEST(ElementwiseTest, CopyMakesFloatsOfIntegers) {
  const Tensor integers[] = {Tensor::from(std::vector<std::int64_t>{-7, 0, 999}, {3}),
                             Tensor::from(std::vector<std::int32_t>{-7, 0, 999}, {3}),
                             Tensor::from(std::vector<std::uint8_t>{7, 0, 255}, {3})};
  for (const Tensor& x : integers)
    for (const DType to : kFloating) {
      const UnaryArgs args{UnaryKind::copy, x, output({3}, to)};
      check(args);
      for_each_row(unary, args, [&](const Row<UnaryArgs>&) {
        run_here(unary, args);
        EXPECT_EQ(doubles(args.y), doubles(tensor_of(doubles(x), {3}, to)));
      });
    }
}

TEST(ElementwiseTest, NaNsAndInfinitiesPassThrough) {
  const float nan = NAN, inf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::from(std::vector<float>{nan, inf, -inf, 0, 5}, {5});
  const UnaryArgs clamp{UnaryKind::clamp, x, output({5}, DType::f32), -1, 1};
  for_each_row(unary, clamp, [&](const Row<UnaryArgs>&) {
    run_here(unary, clamp);
    const std::vector<double> y = doubles(clamp.y);
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_EQ(std::vector<double>(y.begin() + 1, y.end()), (std::vector<double>{1, -1, 0, 1}));
  });
  const UnaryArgs silu{UnaryKind::silu, Tensor::from(std::vector<float>{-200, 200, -0.0f}, {3}),
                       output({3}, DType::f32)};
  for_each_row(unary, silu, [&](const Row<UnaryArgs>&) {
    run_here(unary, silu);
    const std::vector<double> y = doubles(silu.y);
    EXPECT_NEAR(y[0], 0, 1e-30);
    EXPECT_EQ(y[1], 200);
    EXPECT_EQ(y[2], 0);
  });
  for (const BinaryKind kind : {BinaryKind::maximum, BinaryKind::minimum}) {
    const BinaryArgs args{
        kind, Broadcast::none, Tensor::from(std::vector<float>{nan, 1, inf, 2}, {4}),
        Tensor::from(std::vector<float>{1, nan, 3, 5}, {4}), output({4}, DType::f32)};
    for_each_row(binary, args, [&](const Row<BinaryArgs>&) {
      run_here(binary, args);
      const std::vector<double> y = doubles(args.y);
      EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
      EXPECT_EQ(y[2], kind == BinaryKind::maximum ? inf : 3);
      EXPECT_EQ(y[3], kind == BinaryKind::maximum ? 5 : 2);
    });
  }
}

TEST(ElementwiseTest, SiluGradientRowsAgree) {
  for (const Shape& shape : {Shape{3, 5, 7}, Shape{2, 9001}}) {
    const auto make = [&](DType dtype, DType through) {
      return SiluBwdArgs{as_slice(input(shape, dtype, through, 1, 2)),
                         input(shape, dtype, through, 2), as_slice(output(shape, dtype))};
    };
    expect_rows_agree(
        silu_bwd, make,
        [](const auto& a) {
          return Outputs{{"dx", a.dx}};
        },
        3);
  }
}

TEST(ElementwiseTest, SiluGradientIsTheSlope) {
  const Tensor x = randn({2, 6}, DType::f64, 1, 2), dy = randn({2, 6}, DType::f64, 2);
  const Tensor y = output({2, 6}, DType::f64), dx = output({2, 6}, DType::f64);
  run_here(silu_bwd, SiluBwdArgs{x, dy, dx});
  const Tensor numerical = numerical_gradient(x, [&] {
    run_here(unary, UnaryArgs{UnaryKind::silu, x, y});
    return weighted_sum(dy, y);
  });
  EXPECT_LT(relative_error(dx, numerical), 1e-8);
}

TEST(ElementwiseTest, BinaryRowsAgreeWithTheReference) {
  for (const BinaryKind kind : kBinary)
    for (const Broadcast broadcast : kBroadcasts)
      for (const Shape& shape : {Shape{3, 5, 4, 7}, Shape{2, 29, 300}, Shape{5, 1}}) {
        if (shape.numel() > 1000 && kind != BinaryKind::add) continue;  // more than one task
        SCOPED_TRACE(testing::Message()
                     << name(kind) << " broadcast " << static_cast<int>(broadcast));
        const double offset = kind == BinaryKind::div ? 6 : 0;
        const Shape b_shape = shape_of(broadcast, shape);
        const auto make = [&](DType dtype, DType through) {
          return BinaryArgs{kind,
                            broadcast,
                            as_slice(input(shape, dtype, through, 1)),
                            as_slice(input(b_shape, dtype, through, 2, 1, offset)),
                            as_slice(output(shape, dtype)),
                            2,
                            -0.5};
        };
        expect_rows_agree(binary, make, y_of<BinaryArgs>, 2);
        const auto plain = [&](DType dtype, DType through) {
          const Tensor a = input(shape, dtype, through, 1);  // dense, in place, without factors
          return BinaryArgs{kind, broadcast, a, input(b_shape, dtype, through, 2, 1, offset), a};
        };
        expect_rows_agree(binary, plain, y_of<BinaryArgs>, 2);
      }
}

TEST(ElementwiseTest, BinaryBroadcastsOverAVector) {
  const Tensor a = randn({70}, DType::f32, 1), b = randn({70}, DType::f32, 2);
  for (const Broadcast broadcast : {Broadcast::per_sample, Broadcast::per_channel}) {
    const BinaryArgs args{BinaryKind::add, broadcast, a, b, output({70}, DType::f32)};
    check(args);
    for_each_row(binary, args, [&](const Row<BinaryArgs>&) {
      run_here(binary, args);
      for (int i = 0; i < 70; ++i)
        EXPECT_EQ(args.y.data<float>()[i], a.data<float>()[i] + b.data<float>()[i]);
    });
  }
}

TEST(ElementwiseTest, BinaryMixesDtypes) {
  for (const DType a : kFloating)
    for (const DType b : kFloating)
      for (const DType y : kFloating) {
        SCOPED_TRACE(testing::Message() << name(a) << name(b) << name(y));
        const BinaryArgs args{BinaryKind::add, Broadcast::none, randn({5, 30}, a, 1),
                              randn({5, 30}, b, 2), output({5, 30}, y)};
        std::vector<double> expected = doubles(args.a);
        const std::vector<double> other = doubles(args.b);
        for (std::size_t i = 0; i < other.size(); ++i) expected[i] += other[i];
        for_each_row(binary, args, [&](const Row<BinaryArgs>&) {
          poison(args.y);
          run_here(binary, args);
          EXPECT_LT(relative_error(args.y, tensor_of(expected, {5, 30}, y)), 1e-7);
        });
      }
}

TEST(ElementwiseTest, WhereSelectsPerSampleAndPerElement) {
  const Shape shape{5, 7, 300};
  for (const DType mask_dtype : kFloating)
    for (const bool per_element : {false, true}) {
      const Shape mask_shape = per_element ? shape : Shape{5};
      const auto make = [&](DType dtype, DType through) {
        return WhereArgs{as_slice(randn(mask_shape, mask_dtype, 3)),
                         as_slice(input(shape, dtype, through, 1)), input(shape, dtype, through, 2),
                         as_slice(output(shape, dtype))};
      };
      expect_rows_agree(where_fwd, make, y_of<WhereArgs>, 2);
    }
  const Tensor a = randn({3, 2}, DType::f32, 1), b = randn({3, 2}, DType::f32, 2);
  for (const Tensor& mask : {Tensor::from(std::vector<std::int64_t>{1, 0, -1}, {3}),
                             Tensor::from(std::vector<std::int32_t>{4, 0, -4}, {3})}) {
    const WhereArgs args{mask, a, b, output({3, 2}, DType::f32)};
    check(args);
    for_each_row(where_fwd, args, [&](const Row<WhereArgs>&) {
      run_here(where_fwd, args);
      for (int i = 0; i < 6; ++i)
        EXPECT_EQ(args.y.data<float>()[i], (i < 2 ? a : b).data<float>()[i]);
    });
  }
}

TEST(ElementwiseTest, EmptyTensorsAreFine) {
  for (const Shape& shape : {Shape{0, 4}, Shape{3, 0}, Shape{0}}) {
    const Tensor x = Tensor::empty(shape), y = Tensor::empty(shape);
    const UnaryArgs u{UnaryKind::silu, x, y}, copy{UnaryKind::copy, x, y};
    const SiluBwdArgs s{x, x, y};
    const BinaryArgs b{BinaryKind::add, Broadcast::per_sample, x, Tensor::empty({shape[0]}), y};
    const WhereArgs w{Tensor::empty({shape[0]}), x, x, y};
    check(u), check(s), check(b), check(w);
    for_each_row(unary, u, [&](const auto&) { run_here(unary, u), run_here(unary, copy); });
    for_each_row(silu_bwd, s, [&](const auto&) { run_here(silu_bwd, s); });
    for_each_row(binary, b, [&](const auto&) { run_here(binary, b); });
    for_each_row(where_fwd, w, [&](const auto&) { run_here(where_fwd, w); });
    EXPECT_EQ(cost(u).flops, 0);
  }
}

TEST(ElementwiseTest, CostIsWhatTheReferenceDoes) {
  const Shape shape{3, 2, 5};
  const Tensor x = as_slice(randn(shape, DType::f64, 1)), z = randn(shape, DType::f64, 2);
  const Tensor y = as_slice(output(shape, DType::f64));
  for (const UnaryKind kind : kUnary) {
    SCOPED_TRACE(name(kind));
    expect_cost(UnaryArgs{kind, x, y, 2, 3}, unary_reference<Counted>, {x, y});
  }
  expect_cost(SiluBwdArgs{x, z, y}, silu_bwd_reference<Counted>, {x, y, z});
  for (const BinaryKind kind : kBinary)
    for (const Broadcast broadcast : kBroadcasts)
      for (const double factor : {1.0, 2.0}) {
        SCOPED_TRACE(testing::Message() << name(kind) << static_cast<int>(broadcast) << factor);
        const Tensor b = randn(shape_of(broadcast, shape), DType::f64, 3);
        expect_cost(BinaryArgs{kind, broadcast, x, b, y, factor, 1}, binary_reference<Counted>,
                    {x, b, y});
        expect_cost(BinaryArgs{kind, broadcast, x, b, y, 1, factor}, binary_reference<Counted>,
                    {x, b, y});
      }
  for (const Shape& mask_shape : {shape, Shape{3}}) {
    const Tensor mask = randn(mask_shape, DType::f64, 4);
    expect_cost(WhereArgs{mask, x, z, y}, where_reference<Counted>, {mask, x, z, y});
  }
}

TEST(ElementwiseTest, WrongArgumentsAreNamed) {
  const Tensor x = Tensor::empty({2, 3});
  EXPECT_NE(message_of([&] {
              check(UnaryArgs{UnaryKind::exp, x, Tensor::empty({2, 4})});
            }).find("exp: y is f32[2,4], not [2,3]"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              check(UnaryArgs{UnaryKind::exp, Tensor::empty({2}, DType::i64), Tensor::empty({2})});
            }).find("i64[2] is not floating"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              check(BinaryArgs{BinaryKind::add, Broadcast::per_channel, x, Tensor::empty({2}), x});
            }).find("b is f32[2], not [3]"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              check(WhereArgs{Tensor::empty({3}), x, x, x});
            }).find("mask is f32[3], not [2]"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              check(SiluBwdArgs{x, {}, x});
            }).find("dy none is not floating"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
