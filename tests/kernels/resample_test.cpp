#include "kernels/resample/resample.h"

#include "kernels/resample/reference.h"
#include "runtime/files/npz.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

struct Case {
  ResampleKind kind;
  std::int64_t h, w, p, q;
};
constexpr Case kCases[] = {
    {ResampleKind::nearest_up2x, 3, 5, 6, 10}, {ResampleKind::nearest_up2x, 1, 1, 2, 2},
    {ResampleKind::mean_pool2x2, 6, 10, 3, 5}, {ResampleKind::mean_pool2x2, 2, 2, 1, 1},
    {ResampleKind::bilinear, 5, 7, 12, 9},     {ResampleKind::bilinear, 12, 9, 5, 7},
    {ResampleKind::bilinear, 6, 8, 6, 8},      {ResampleKind::bilinear, 20, 20, 3, 2},
    {ResampleKind::bilinear, 1, 1, 4, 4},      {ResampleKind::area, 12, 9, 5, 7},
    {ResampleKind::area, 5, 7, 12, 9},         {ResampleKind::area, 8, 8, 2, 4},
};

TEST(ResampleTest, RowsAgreeWithTheReference) {
  for (const Case& c : kCases)
    for (const std::int64_t channels : {3, 16, 37}) {
      SCOPED_TRACE(testing::Message() << name(c.kind) << " " << c.h << "x" << c.w << " to " << c.p
                                      << "x" << c.q << " C=" << channels);
      const Shape x{2, c.h, c.w, channels}, y{2, c.p, c.q, channels};
      const bool sliced = channels != 16;
      const auto place = [&](const Tensor& t) { return sliced ? as_slice(t) : t; };
      const auto forward = [&](DType dtype, DType through) {
        return ResampleFwdArgs{c.kind, place(input(x, dtype, through, 1)), place(output(y, dtype))};
      };
      expect_rows_agree(
          resample_fwd, forward,
          [](const auto& a) {
            return Outputs{{"y", a.y}};
          },
          2);
      const auto backward = [&](DType dtype, DType through) {
        return ResampleBwdArgs{c.kind, place(input(y, dtype, through, 2)), place(output(x, dtype))};
      };
      expect_rows_agree(
          resample_bwd, backward,
          [](const auto& a) {
            return Outputs{{"dx", a.dx}};
          },
          3);
    }
}

TEST(ResampleTest, BackwardIsTheTranspose) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::Message() << name(c.kind) << " " << c.h << " to " << c.p);
    const Tensor x = randn({2, c.h, c.w, 3}, DType::f64, 1);
    const Tensor dy = randn({2, c.p, c.q, 3}, DType::f64, 2);
    const Tensor y = output(dy.shape(), DType::f64), dx = output(x.shape(), DType::f64);
    run_here(resample_fwd, ResampleFwdArgs{c.kind, x, y});
    run_here(resample_bwd, ResampleBwdArgs{c.kind, dy, dx});
    EXPECT_NEAR(weighted_sum(y, dy), weighted_sum(x, dx), 1e-10);
  }
}

TEST(ResampleTest, NearestCopiesAndPoolingAverages) {
  const Tensor x = randn({1, 2, 2, 1}, DType::f64, 1), up = output({1, 4, 4, 1}, DType::f64);
  run_here(resample_fwd, ResampleFwdArgs{ResampleKind::nearest_up2x, x, up});
  for (int p = 0; p < 4; ++p)
    for (int q = 0; q < 4; ++q)
      EXPECT_EQ(up.data<double>()[4 * p + q], x.data<double>()[2 * (p / 2) + q / 2]);
  const Tensor mean = output({1, 1, 1, 1}, DType::f64);
  run_here(resample_fwd, ResampleFwdArgs{ResampleKind::mean_pool2x2, x, mean});
  const double* v = x.data<double>();
  EXPECT_DOUBLE_EQ(mean.data<double>()[0], (v[0] + v[1] + v[2] + v[3]) / 4);
}

// [N,C,H,W] to [N,H,W,C].
Tensor channels_last(const Tensor& t) {
  const std::int64_t n = t.dim(0), c = t.dim(1), size = t.dim(2) * t.dim(3);
  const Tensor out = Tensor::empty({n, t.dim(2), t.dim(3), c});
  for (std::int64_t i = 0; i < t.numel(); ++i)
    out.data<float>()[(i / (c * size) * size + i % size) * c + i / size % c] = t.data<float>()[i];
  return out;
}

TEST(ResampleTest, AreaAndBilinearArePyTorchs) {
  const NpzReader file = NpzReader::open(TILLER_TEST_DATA "/area.npz");
  const Tensor x = channels_last(file.read("x"));
  for (const auto& [key, kind] :
       {std::pair{"to_16", ResampleKind::area}, std::pair{"to_24", ResampleKind::area},
        std::pair{"to_50", ResampleKind::area}, std::pair{"up", ResampleKind::bilinear}}) {
    SCOPED_TRACE(key);
    const Tensor expected = channels_last(file.read(key));
    const ResampleFwdArgs args{kind, x, output(expected.shape(), DType::f32)};
    check(args);
    for_each_row(resample_fwd, args, [&](const auto&) {
      poison(args.y);
      run_here(resample_fwd, args);
      EXPECT_LT(relative_error(args.y, expected), 1e-5);
    });
  }
}

TEST(ResampleTest, EmptyPictures) {
  for (const Shape& small : {Shape{0, 2, 2, 3}, Shape{2, 0, 2, 3}, Shape{2, 2, 2, 0}}) {
    const Shape large = small.with(1, 2 * small[1]).with(2, 2 * small[2]);
    const ResampleFwdArgs up{ResampleKind::nearest_up2x, Tensor::empty(small),
                             Tensor::empty(large)};
    const ResampleBwdArgs pool{ResampleKind::mean_pool2x2, Tensor::empty(small),
                               Tensor::empty(large)};
    check(up), check(pool);
    for_each_row(resample_fwd, up, [&](const auto&) { run_here(resample_fwd, up); });
    for_each_row(resample_bwd, pool, [&](const auto&) { run_here(resample_bwd, pool); });
    EXPECT_EQ(cost(up).flops, 0);
  }
}

TEST(ResampleTest, CostIsWhatTheReferenceDoes) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(testing::Message() << name(c.kind) << " " << c.h << " to " << c.p);
    const Tensor x = as_slice(randn({2, c.h, c.w, 3}, DType::f64, 1));
    const Tensor y = randn({2, c.p, c.q, 3}, DType::f64, 2);
    expect_cost(ResampleFwdArgs{c.kind, x, y}, resample_fwd_reference<Counted>, {x, y});
    expect_cost(ResampleBwdArgs{c.kind, y, x}, resample_bwd_reference<Counted>, {x, y});
  }
}

TEST(ResampleTest, WrongArgumentsAreNamed) {
  const Tensor x = Tensor::empty({1, 4, 4, 3});
  const auto message = [&](ResampleKind kind, const Tensor& y) {
    return message_of([&] { check(ResampleFwdArgs{kind, x, y}); });
  };
  EXPECT_NE(message(ResampleKind::nearest_up2x, x).find("is not twice f32[1,4,4,3]"),
            std::string::npos);
  EXPECT_NE(message(ResampleKind::mean_pool2x2, x).find("is not half of f32[1,4,4,3]"),
            std::string::npos);
  EXPECT_NE(message(ResampleKind::area, Tensor::empty({1, 2, 2, 4})).find("are not [N,H,W,C]"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
