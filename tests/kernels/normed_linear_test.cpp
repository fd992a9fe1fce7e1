// A product behind a group norm in one kernel: what it stores is, bit for bit, what the norm and the
// product give one after the other.
#include "kernels/gemm/mma_plan.h"
#include "kernels/linear/reference.h"
#include "tests/kernels/counted.h"
#include "tests/kernels/helpers.h"

namespace tiller::test {
namespace {

struct NormedCase {
  const char* name;
  Shape pixels;  ///< [N,...]
  std::int64_t c, k;
  int groups;
  bool bias = true, residual = false;
  std::size_t rows = 1;  ///< of a device, that serve a half
};

void PrintTo(const NormedCase& c, std::ostream* out) { *out << c.name; }

Shape with_columns(const Shape& rows, std::int64_t columns) {
  std::vector<std::int64_t> dims(rows.begin(), rows.end());
  dims.push_back(columns);
  return Shape(dims);
}

// Mean and sum of squared deviations of each sample and channel.
Tensor moments_of(const Tensor& x) {
  const std::int64_t n = x.dim(0), c = x.cols(), pixels = x.rows() / n;
  const std::vector<double> values = doubles(x);
  std::vector<double> out;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < c; ++j) {
      const auto at = [&](std::int64_t p) {
        return values[static_cast<std::size_t>((i * pixels + p) * c + j)];
      };
      double mean = 0, m2 = 0;
      for (std::int64_t p = 0; p < pixels; ++p) mean += at(p) / static_cast<double>(pixels);
      for (std::int64_t p = 0; p < pixels; ++p) m2 += (at(p) - mean) * (at(p) - mean);
      out.push_back(mean);
      out.push_back(m2);
    }
  return tensor_of(out, {n, c, 2}, accumulate_dtype(x.dtype()));
}

LinearFwdArgs make(const NormedCase& c, DType dtype) {
  const DType wide = accumulate_dtype(dtype);
  LinearFwdArgs args;
  args.x = randn(with_columns(c.pixels, c.c), dtype, 1);
  args.w = randn({c.k, c.c}, wide, 2, 1 / std::sqrt(static_cast<double>(c.c)));
  if (c.bias) args.bias = randn({c.k}, wide, 3);
  if (c.residual) args.residual = randn(with_columns(c.pixels, c.k), dtype, 4);
  args.y = Tensor::empty(with_columns(c.pixels, c.k), dtype);
  args.norm.stats = moments_of(args.x);
  args.norm.gamma = randn({c.c}, wide, 5);
  args.norm.beta = randn({c.c}, wide, 6);
  args.norm.mean_rstd = Tensor::empty({args.x.dim(0), c.groups, 2}, wide);
  args.norm.groups = c.groups;
  check(args);
  return args;
}

// The same by two calls; the product's row is the forced one.
LinearFwdArgs apart(const LinearFwdArgs& args) {
  LinearFwdArgs product = args;
  product.x = Tensor::empty_like(args.x);
  product.y = Tensor::empty_like(args.y);
  product.norm.mean_rstd = Tensor::empty_like(args.norm.mean_rstd);
  GroupNormFwdArgs norm = norm_of(args, product.x);
  norm.mean_rstd = product.norm.mean_rstd;
  run_here(group_norm_fwd, norm);
  LinearFwdArgs plain = product;
  plain.norm = {};
  run_here(linear_fwd, plain);
  return product;
}

class NormedLinear : public testing::TestWithParam<NormedCase> {};

const std::vector<NormedCase>& cases() {
  static const std::vector<NormedCase> all{
      // Two samples in a tile of 128 rows, groups smaller than a vector; C is no whole step.
      {"small_maps", {2, 8, 8}, 40, 72, 20, true, false, 2},
      // Three samples: the last tile of 128 rows has one.
      {"three", {3, 64}, 64, 96, 32, true, true, 3},
      // Tiles begin in the middle of samples: 192 rows each.
      {"odd_maps", {2, 12, 16}, 96, 192, 3, false, false, 3},
      // Many tiles of one sample, which has one writer of its statistics.
      {"large_map", {1, 16, 16}, 24, 131, 4, true, false, 2},
      // Split sums, and more groups than the block has teams.
      {"deep", {1, 64}, 512, 96, 64, true, true, 5},
      {"most_channels", {1, 64}, 1024, 64, 32, true, false, 2},
  };
  return all;
}

TEST_P(NormedLinear, HasTheBitsOfTheTwoCalls) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  for (const DType dtype : {DType::f16, DType::bf16}) {
    SCOPED_TRACE(name(dtype));
    const LinearFwdArgs args = make(GetParam(), dtype);
    std::size_t rows = 0;
    for_each_row(linear_fwd, args, [&](const Row<LinearFwdArgs>& row) {
      if (row.device == DeviceType::cpu) return;
      ++rows;
      const LinearFwdArgs two = apart(args);
      for (const int variation : {0, 1}) {
        if (variation > 0 && dtype == DType::bf16) break;
        const VariationGuard guard(row.device, variation);
        poison(args.y);
        poison(args.norm.mean_rstd);
        run_here(linear_fwd, args);
        EXPECT_EQ(doubles(args.y), doubles(two.y));
        EXPECT_EQ(doubles(args.norm.mean_rstd), doubles(two.norm.mean_rstd));
      }
    });
    EXPECT_EQ(rows, GetParam().rows);
  }
}

// The row that run() chooses, against the f64 reference on unrounded operands.
TEST_P(NormedLinear, IsWithinAHalfOfTheReference) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const LinearFwdArgs exact = make(GetParam(), DType::f64);
  run(linear_fwd, exact);
  for (const auto& [dtype, most] : {std::pair{DType::f16, 2e-3}, std::pair{DType::bf16, 1.6e-2}}) {
    const LinearFwdArgs args = make(GetParam(), dtype);
    EXPECT_EQ(choose_row(linear_fwd, on_device(args, gpu().type)).math, Math::half);
    run_on(gpu().type, linear_fwd, args);
    EXPECT_LE(relative_error(args.y, exact.y), most) << name(dtype);
    EXPECT_LE(relative_error(args.norm.mean_rstd, exact.norm.mean_rstd), most) << name(dtype);
  }
}

TEST_P(NormedLinear, TheReferenceIsTheTwoReferences) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const ForceRows references("linear_fwd:reference,group_norm_fwd:reference");
    const LinearFwdArgs args = make(GetParam(), dtype);
    run(linear_fwd, args);
    const LinearFwdArgs two = apart(args);
    EXPECT_EQ(doubles(args.y), doubles(two.y));
    EXPECT_EQ(doubles(args.norm.mean_rstd), doubles(two.norm.mean_rstd));
  }
}

TEST_P(NormedLinear, CostIsWhatIsCounted) {
  const LinearFwdArgs args = make(GetParam(), DType::f64);
  Counter counter;
  for (const Tensor& t : {args.x, args.w, args.bias, args.residual, args.y, args.norm.stats,
                          args.norm.gamma, args.norm.beta, args.norm.mean_rstd})
    counter.watch(t);
  {
    const CountGuard guard(counter);
    linear_fwd_reference<Counted>(args);
  }
  const Cost want = cost(args);
  EXPECT_EQ(counter.flops(), want.flops);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_read()), want.bytes_read);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_written()), want.bytes_written);
}

INSTANTIATE_TEST_SUITE_P(Cases, NormedLinear, testing::ValuesIn(cases()),
                         [](const auto& info) { return std::string(info.param.name); });

// What no kernel fuses is refused by the rows, so that the operation takes it apart.
TEST(NormedLinearRows, RefuseWhatTheyCannotDo) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const auto fast = [](const NormedCase& c, DType dtype = DType::f16) {
    return find_row(linear_fwd, on_device(make(c, dtype), gpu().type)) != nullptr;
  };
  EXPECT_TRUE(fast({"", {1, 64}, 64, 192, 32}));
  EXPECT_FALSE(fast({"", {1, 64}, 64, 192, 32}, DType::f32));
  EXPECT_FALSE(fast({"samples_end_within_64_rows", {2, 7, 7}, 64, 192, 32}));
  EXPECT_FALSE(fast({"no_whole_vectors", {1, 64}, 36, 108, 4}));
  EXPECT_FALSE(fast({"channels", {1, 64}, 1088, 64, 32}));
}

TEST(NormedLinearCheck, NamesWhatIsWrong) {
  const auto throws = [](const char* part, const auto& change) {
    LinearFwdArgs args = make({"", {2, 4}, 8, 16, 4}, DType::f32);
    change(args);
    try {
      check(args);
      ADD_FAILURE() << "no error: " << part;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  throws("not both", [](auto& a) { a.silu_input = true; });
  throws("stats0", [](auto& a) { a.norm.stats = a.norm.stats.slice(0, 1); });
  throws("gamma", [](auto& a) { a.norm.gamma = a.bias; });
  throws("mean_rstd", [](auto& a) { a.norm.mean_rstd = {}; });
  throws("divisible by groups=3", [](auto& a) { a.norm.groups = 3; });
}

// qkv of the published 64x64 networks: a tile that a norm fits is planned.
TEST(NormedLinearPlan, ChoosesAmongTheTilesThatNorm) {
  const auto planned = [](std::int64_t m, std::int64_t n, std::int64_t k) {
    return std::string_view(plan_mma({m, n, k, DType::f16, true}, Math::half));
  };
  EXPECT_EQ(planned(64, 2304, 768), "v4_split_k@64x64");
  EXPECT_EQ(planned(1024, 1152, 384), "v3_mma@128x96");
  EXPECT_EQ(planned(64 * 1024, 1536, 512), "v3_mma@128x128");
  for (const std::int64_t n : {1, 64, 65, 96, 192, 256, 1000})
    for (const std::int64_t m : {64, 1024, 65536})
      for (const MmaTile& tile : kMmaTiles) {
        if (!tile.normed) {
          EXPECT_NE(planned(m, n, 512), tile.half);
        }
      }
}

}  // namespace
}  // namespace tiller::test
