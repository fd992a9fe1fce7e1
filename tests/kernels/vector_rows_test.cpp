// The vectorised rows of the memory-bound operations on what the other tests do not give them:
// channel slices that are aligned to vectors, broadcasts over whole vectors, dense pictures.
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/resample/resample.h"
#include "kernels/sampler_step/sampler_step.h"
#include "tests/kernels/agree.h"

namespace tiller::test {
namespace {

// 8 channels of NaN before, 16 behind: every row begins at a multiple of 16 bytes.
Tensor aligned_slice(const Tensor& t) { return as_slice(t, 8, 16); }

class VectorRows : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(gpu())) GTEST_SKIP() << no_gpu();
  }
};

template <class Args>
void expect_vectors(const Op<Args>& op, const Args& args, const char* row = "v2_vectors") {
  EXPECT_STREQ(choose_row(op, on_device(args, gpu().type)).name, row);
}

const Shape kShape{3, 5, 24};

TEST_F(VectorRows, UnaryAndSiluBackward) {
  for (const UnaryKind kind : {UnaryKind::copy, UnaryKind::affine, UnaryKind::silu}) {
    const auto make = [&](DType dtype, DType through) {
      return UnaryArgs{kind, aligned_slice(input(kShape, dtype, through, 1)),
                       aligned_slice(output(kShape, dtype)), -0.75, 0.5};
    };
    expect_vectors(unary, make(DType::f16, DType::f16));
    expect_rows_agree(
        unary, make,
        [](const auto& a) {
          return Outputs{{"y", a.y}};
        },
        2);
  }
  const auto make = [&](DType dtype, DType through) {
    return SiluBwdArgs{aligned_slice(input(kShape, dtype, through, 1)),
                       aligned_slice(input(kShape, dtype, through, 2)),
                       aligned_slice(output(kShape, dtype))};
  };
  expect_vectors(silu_bwd, make(DType::bf16, DType::bf16));
  expect_rows_agree(
      silu_bwd, make,
      [](const auto& a) {
        return Outputs{{"dx", a.dx}};
      },
      3);
}

TEST_F(VectorRows, CopiesOfAnyType) {
  std::vector<std::int64_t> values(3 * 8);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int64_t>(i) - (std::int64_t{1} << 60);
  const UnaryArgs args{UnaryKind::copy, Tensor::from(values, {3, 8}),
                       Tensor::empty({3, 8}, DType::i64)};
  expect_vectors(unary, args);
  run_on(gpu().type, unary, args);
  EXPECT_EQ(args.y.to_vector<std::int64_t>(), values);
}

TEST_F(VectorRows, BinaryInEveryBroadcast) {
  const std::pair<Broadcast, Shape> kinds[] = {{Broadcast::none, kShape},
                                               {Broadcast::per_sample, {3}},
                                               {Broadcast::per_channel, {24}},
                                               {Broadcast::per_sample_channel, {3, 24}}};
  for (const BinaryKind kind : {BinaryKind::add, BinaryKind::mul, BinaryKind::maximum})
    for (const auto& [broadcast, shape] : kinds) {
      SCOPED_TRACE(static_cast<int>(broadcast));
      const auto make = [&, b = broadcast, b_shape = shape](DType dtype, DType through) {
        return BinaryArgs{kind,
                          b,
                          aligned_slice(input(kShape, dtype, through, 1)),
                          input(b_shape, dtype, through, 2),
                          aligned_slice(output(kShape, dtype)),
                          1.5,
                          -0.5};
      };
      expect_vectors(binary, make(DType::f16, DType::f16));
      expect_rows_agree(
          binary, make,
          [](const auto& a) {
            return Outputs{{"y", a.y}};
          },
          2);
    }
}

TEST_F(VectorRows, WhereByElementAndBySample) {
  for (const Shape& mask : {kShape, Shape{3}}) {
    const auto make = [&](DType dtype, DType through) {
      return WhereArgs{
          input(mask, dtype, through, 3), aligned_slice(input(kShape, dtype, through, 1)),
          aligned_slice(input(kShape, dtype, through, 2)), aligned_slice(output(kShape, dtype))};
    };
    expect_vectors(where_fwd, make(DType::f32, DType::f32));
    expect_rows_agree(
        where_fwd, make,
        [](const auto& a) {
          return Outputs{{"y", a.y}};
        },
        2);
  }
}

TEST_F(VectorRows, Dropout) {
  DropoutArgs args{aligned_slice(input(kShape, DType::f16, DType::f16, 1)),
                   aligned_slice(output(kShape, DType::f16)),
                   0.3,
                   {7, 2, 3, RandomStream::dropout},
                   5};
  expect_vectors(dropout_fwd, args);
  run(dropout_fwd, args);
  const std::vector<double> expected = doubles(args.y);
  poison(args.y);
  run_on(gpu().type, dropout_fwd, args);
  EXPECT_EQ(doubles(args.y), expected);
}

TEST_F(VectorRows, ResampleOfSlices) {
  for (const ResampleKind kind : {ResampleKind::nearest_up2x, ResampleKind::bilinear}) {
    const Shape x{2, 3, 5, 16}, y{2, 6, 10, 16};
    const auto forward = [&](DType dtype, DType through) {
      return ResampleFwdArgs{kind, aligned_slice(input(x, dtype, through, 1)),
                             aligned_slice(output(y, dtype))};
    };
    expect_vectors(resample_fwd, forward(DType::f16, DType::f16));
    expect_rows_agree(
        resample_fwd, forward,
        [](const auto& a) {
          return Outputs{{"y", a.y}};
        },
        2);
    const auto backward = [&](DType dtype, DType through) {
      return ResampleBwdArgs{kind, aligned_slice(input(y, dtype, through, 1)),
                             aligned_slice(output(x, dtype))};
    };
    expect_vectors(resample_bwd, backward(DType::f16, DType::f16));
    expect_rows_agree(
        resample_bwd, backward,
        [](const auto& a) {
          return Outputs{{"dx", a.dx}};
        },
        3);
  }
}

// A step of dense RGB pictures, with every absent tensor absent once.
TEST_F(VectorRows, SamplerStep) {
  const Shape shape{2, 6, 6, 3};
  std::vector<float> scalars;
  for (int i = 0; i < kStepScalars; ++i) scalars.push_back(0.3f + 0.02f * static_cast<float>(i));
  const auto make = [&](VarianceKind variance, int absent) {
    SamplerStepArgs args;
    args.x = input(shape, DType::f32, DType::f32, 1);
    args.model =
        input(shape.with(-1, variance == VarianceKind::fixed ? 3 : 6), DType::f32, DType::f32, 2);
    if (absent != 1) args.gradient = input(shape, DType::f32, DType::f32, 3);
    if (absent != 2) args.noise = input(shape, DType::f32, DType::f32, 4);
    args.table = Tensor::from(scalars, {1, kStepScalars});
    args.state = Tensor::from(std::vector<std::int64_t>{0, 5, 1000, 77}, {4});
    args.y = output(shape, DType::f32);
    if (absent != 3) args.x_start = output(shape, DType::f32);
    args.variance = variance;
    return args;
  };
  for (const VarianceKind variance :
       {VarianceKind::fixed, VarianceKind::learned, VarianceKind::learned_range})
    for (const bool ddim : {false, true})
      for (const int absent : {0, 1, 2, 3}) {
        SCOPED_TRACE(testing::Message() << static_cast<int>(variance) << ddim << absent);
        SamplerStepArgs want = make(variance, absent), got = make(variance, absent);
        want.ddim = got.ddim = ddim;
        expect_vectors(sampler_step, got, "v2_pixels");
        run(sampler_step, want);
        run_on(gpu().type, sampler_step, got);
        EXPECT_LE(relative_error(got.y, want.y), 1e-6);
        if (absent != 3) {
          EXPECT_LE(relative_error(got.x_start, want.x_start), 1e-6);
        }
        EXPECT_EQ(doubles(got.state), doubles(want.state));
      }
}

}  // namespace
}  // namespace tiller::test
