// Frozen weights: the fast products read them where they lie, in a file's order and dtype, and keep
// nothing.
#include "kernels/gemm/fresh.h"
#include "kernels/gemm/isa.h"
#include "tests/kernels/conv2d_util.h"
#include "tests/kernels/linear_util.h"
#include "tests/kernels/rows_util.h"

namespace tiller::test {
namespace {

// The values of w [K,R,S,C] or [K,C], rounded to dtype, as PyTorch's files have them: [K,C,R,S].
Tensor frozen(const Tensor& w, DType dtype) {
  const std::int64_t k = w.dim(0), c = w.cols(), taps = w.numel() / (k * c);
  const std::vector<double> values = doubles(w);
  std::vector<double> in_file(values.size());
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t j = 0; j < c; ++j)
        in_file[static_cast<std::size_t>((i * c + j) * taps + tap)] =
            values[static_cast<std::size_t>((i * taps + tap) * c + j)];
  const Tensor held = tensor_of(in_file, {w.numel()}, dtype);
  return Tensor::view(Storage::freeze({held.raw(), dtype, k, c, taps, held.storage()}, kCpu),
                      w.shape(), DType::f32);
}

std::vector<std::string> fast_rows(const char* narrow, const char* wide) {
  if (!Avx512::available()) return {narrow};
  return {narrow, wide};
}

// Runs `row` with the weights that `weights` yields frozen in dtype; gives all outputs as one list.
template <class Args, class Outputs>
std::vector<double> with_frozen(const Op<Args>& op, const std::string& row, Args args, DType dtype,
                                const std::vector<Tensor Args::*>& weights,
                                const Outputs& outputs) {
  for (Tensor Args::*const w : weights)
    if (args.*w) args.*w = frozen(args.*w, dtype);
  const ForceRows force(std::string(op.name) + ":" + row);
  for (const Tensor& t : outputs(args))
    if (t) poison(t);
  run(op, args);
  std::vector<double> all;
  for (const Tensor& t : outputs(args))
    if (t) {
      const std::vector<double> values = doubles(t);
      all.insert(all.end(), values.begin(), values.end());
    }
  for (Tensor Args::*const w : weights)
    if (args.*w) {
      EXPECT_FALSE((args.*w).storage()->resident()) << "somebody made the bytes and kept them";
      if (reads_frozen(args.*w, DType::f32)) {
        EXPECT_EQ((args.*w).storage()->derived_bytes(), 0u);
      }
    }
  return all;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    error += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return std::sqrt(error / norm);
}

// f32: what the reference row computes. f16 and bf16: bit for bit what f32 weights that are exact in
// them give.
template <class Args, class Outputs>
void expect_frozen(const Op<Args>& op, const std::vector<std::string>& rows, const Args& args,
                   const std::vector<Tensor Args::*>& weights, const Outputs& outputs) {
  const std::vector<double> want = with_frozen(op, "reference", args, DType::f32, {}, outputs);
  for (const std::string& row : rows) {
    SCOPED_TRACE(row);
    EXPECT_LE(distance(with_frozen(op, row, args, DType::f32, weights, outputs), want), 1e-5);
    for (const DType half : {DType::f16, DType::bf16}) {
      Args rounded = args;
      for (Tensor Args::*const w : weights)
        if (args.*w)
          rounded.*w = tensor_of(doubles(tensor_of(doubles(args.*w), (args.*w).shape(), half)),
                                 (args.*w).shape(), DType::f32);
      EXPECT_EQ(with_frozen(op, row, args, half, weights, outputs),
                with_frozen(op, row, rounded, DType::f32, weights, outputs))
          << name(half);
    }
  }
}

class FrozenConv : public ::testing::TestWithParam<ConvCase> {};

TEST_P(FrozenConv, ForwardAndInputGradient) {
  const ConvMaker make{GetParam(), DType::f32};
  std::vector<std::string> rows = fast_rows("v1_indirect", "v2_indirect_avx512");
  const ConvGeometry& geometry = GetParam().geometry;
  const bool winograd = GetParam().taps == 3 && geometry.stride == 1;
  const std::vector<std::string> more = fast_rows("v5_winograd_fresh", "v6_winograd_fresh_avx512");
  if (winograd) rows.insert(rows.end(), more.begin(), more.end());
  expect_frozen(conv2d_fwd, rows, make.fwd(), {&Conv2dFwdArgs::w, &Conv2dFwdArgs::skip_w},
                [](const Conv2dFwdArgs& a) {
                  return std::vector<Tensor>{a.y, a.stats};
                });
  if (winograd && geometry.up2x) rows.resize(rows.size() - more.size());
  expect_frozen(conv2d_dgrad, rows, make.dgrad(), {&Conv2dDgradArgs::w},
                [](const Conv2dDgradArgs& a) {
                  return std::vector<Tensor>{a.dx0, a.dx1};
                });
}

INSTANTIATE_TEST_SUITE_P(Frozen, FrozenConv, ::testing::ValuesIn(conv_cases()),
                         [](const auto& info) { return info.param.name; });

// Longer reductions than a stretch holds, in both directions, of one source and of two.
TEST(FrozenConv, StretchesFollowOneAnother) {
  for (const ConvCase& c :
       {ConvCase{"long", 1, 4, 5, 500, 0, 470, 3}, ConvCase{"two", 1, 4, 4, 300, 260, 40, 3}}) {
    SCOPED_TRACE(c.name);
    const ConvMaker make{c, DType::f32};
    const auto rows = fast_rows("v1_indirect", "v2_indirect_avx512");
    expect_frozen(conv2d_fwd, rows, make.fwd(), {&Conv2dFwdArgs::w},
                  [](const Conv2dFwdArgs& a) { return std::vector<Tensor>{a.y}; });
    expect_frozen(conv2d_dgrad, rows, make.dgrad(), {&Conv2dDgradArgs::w},
                  [](const Conv2dDgradArgs& a) {
                    return std::vector<Tensor>{a.dx0, a.dx1};
                  });
  }
}

class FrozenLinear : public ::testing::TestWithParam<LinearCase> {};

TEST_P(FrozenLinear, ForwardAndInputGradient) {
  const LinearMaker make{GetParam(), DType::f32};
  const auto rows = fast_rows("v1_tiled", "v2_tiled_avx512");
  expect_frozen(linear_fwd, rows, make.fwd(), {&LinearFwdArgs::w},
                [](const LinearFwdArgs& a) { return std::vector<Tensor>{a.y}; });
  expect_frozen(linear_dgrad, rows, make.dgrad(), {&LinearDgradArgs::w},
                [](const LinearDgradArgs& a) { return std::vector<Tensor>{a.dx}; });
}

INSTANTIATE_TEST_SUITE_P(Frozen, FrozenLinear, ::testing::ValuesIn(linear_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(FrozenLinear, ManyRowsAndPanelsAreReadAsStrips) {
  const LinearCase c{"strips", {30}, 2064, 520};
  expect_frozen(linear_fwd, fast_rows("v1_tiled", "v2_tiled_avx512"),
                LinearMaker{c, DType::f32}.fwd(), {&LinearFwdArgs::w},
                [](const LinearFwdArgs& a) { return std::vector<Tensor>{a.y}; });
}

// Half-precision activations round the weights first, which only a packed form can hold; the bytes
// that it was made from go.
TEST(FrozenConv, OfHalfActivationsKeepsThePackedFormAlone) {
  const ConvCase c{"half", 1, 8, 8, 32, 0, 48, 3};
  const ConvMaker make{c, DType::f16};
  Conv2dFwdArgs args = make.fwd();
  run(conv2d_fwd, args);
  const std::vector<double> want = doubles(args.y);
  args.w = frozen(args.w, DType::f32);
  poison(args.y);
  run(conv2d_fwd, args);
  EXPECT_EQ(doubles(args.y), want);
  EXPECT_FALSE(args.w.storage()->resident());
  EXPECT_GT(args.w.storage()->derived_bytes(), 0u);
}

TEST(FrozenConv, ChoosesTheFreshRowOnSmallerMaps) {
  const auto chosen = [](std::int64_t size, bool freeze) {
    const ConvCase c{"call", 1, size, size, 64, 0, 2048, 3};  // no few weights
    Conv2dFwdArgs args = ConvMaker{c, DType::f32}.fwd();
    if (freeze) args.w = frozen(args.w, DType::f32);
    return std::string(choose_row(conv2d_fwd, args).name);
  };
  EXPECT_EQ(chosen(16, true), fast_rows("v5_winograd_fresh", "v6_winograd_fresh_avx512").back());
  EXPECT_EQ(chosen(15, true), fast_rows("v1_indirect", "v2_indirect_avx512").back());
  EXPECT_EQ(chosen(16, false), fast_rows("v1_indirect", "v2_indirect_avx512").back());
  EXPECT_EQ(chosen(32, false), fast_rows("v3_winograd", "v4_winograd_avx512").back());
}

}  // namespace
}  // namespace tiller::test
