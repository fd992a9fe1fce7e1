#include "kernels/group_norm/group_norm.h"

#include "kernels/group_norm/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

struct Case {
  Shape x;  // of both sources together
  std::int64_t c1 = 0;
  int groups = 32;
  bool emb = false, silu = false, pool = false;
  int ready = 0;  // bits: stats0, stats1
  bool slices = false;
  bool wide_emb = false;  // emb in f32 beside a half x
  double offset = 0;
  bool aligned = false;  // slices that begin at multiples of 16 bytes

  std::int64_t channels() const { return x[-1]; }
  Shape source(int i) const { return x.with(-1, i ? c1 : channels() - c1); }
  Shape y() const { return pool ? x.with(1, x[1] / 2).with(2, x[2] / 2) : x; }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << to_string(c.x) << " C1=" << c.c1 << " G=" << c.groups << (c.emb ? " emb" : "")
       << (c.wide_emb ? " wide" : "") << (c.silu ? " silu" : "") << (c.pool ? " pool" : "")
       << " ready=" << c.ready << (c.slices ? " slices" : "") << " offset=" << c.offset;
}

Tensor maybe_slice(const Case& c, const Tensor& t) {
  if (!c.slices) return t;
  return c.aligned ? as_slice(t, 8, 16) : as_slice(t);
}

// The mean and the sum of squared deviations of every sample and channel, in f64.
Tensor moments_of(const Tensor& x, DType dtype) {
  const std::int64_t samples = x.dim(0), channels = x.cols(), pixels = x.rows() / samples;
  const std::vector<double> v = doubles(x);
  std::vector<double> out;
  for (std::int64_t n = 0; n < samples; ++n)
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto value = [&](std::int64_t p) {
        return v[static_cast<std::size_t>((n * pixels + p) * channels + c)];
      };
      double mean = 0, m2 = 0;
      for (std::int64_t p = 0; p < pixels; ++p) mean += value(p) / static_cast<double>(pixels);
      for (std::int64_t p = 0; p < pixels; ++p) m2 += (value(p) - mean) * (value(p) - mean);
      out.push_back(mean);
      out.push_back(m2);
    }
  return tensor_of(out, {samples, channels, 2}, dtype);
}

// What forward and backward share.
template <class Args>
Args common(const Case& c, DType dtype, DType through) {
  const DType wide = accumulate_dtype(dtype);
  Args args;
  args.x0 = maybe_slice(c, input(c.source(0), dtype, through, 1, 1, c.offset));
  if (c.c1) args.x1 = maybe_slice(c, input(c.source(1), dtype, through, 2, 2, c.offset + 0.5));
  args.gamma = input({c.channels()}, wide, DType::f32, 3, 0.5, 1);
  args.beta = input({c.channels()}, wide, DType::f32, 4, 0.5);
  if (c.emb) {
    const Shape shape{c.x[0], 2 * c.channels()};
    args.emb = maybe_slice(c, c.wide_emb ? input(shape, wide, DType::f32, 5, 0.5)
                                         : input(shape, dtype, through, 5, 0.5));
  }
  args.groups = c.groups;
  args.silu = c.silu;
  args.pool = c.pool;
  args.mean_rstd = output({c.x[0], c.groups, 2}, wide);
  return args;
}

GroupNormFwdArgs forward(const Case& c, DType dtype, DType through) {
  GroupNormFwdArgs args = common<GroupNormFwdArgs>(c, dtype, through);
  const DType wide = accumulate_dtype(dtype);
  if (c.ready & 1) args.stats0 = moments_of(args.x0, wide);
  if (c.ready & 2) args.stats1 = moments_of(args.x1, wide);
  args.y = maybe_slice(c, output(c.y(), dtype));
  return args;
}

// kAll is of outputs; kAdd adds a tensor to dx0.
enum Wanted { kDx0 = 1, kDx1 = 2, kDgamma = 4, kDbeta = 8, kDemb = 16, kAll = 31, kAdd = 32 };

GroupNormBwdArgs backward(const Case& c, DType dtype, DType through, int wanted = kAll) {
  GroupNormBwdArgs args = common<GroupNormBwdArgs>(c, dtype, through);
  const DType wide = accumulate_dtype(dtype);
  {
    ForceRows reference("group_norm_fwd:reference");
    GroupNormFwdArgs f = forward(c, DType::f64, through);
    run_here(group_norm_fwd, f);
    args.mean_rstd = tensor_of(doubles(f.mean_rstd), f.mean_rstd.shape(), wide);
  }
  args.dy = maybe_slice(c, input(c.y(), dtype, through, 6));
  if (wanted & kAdd) args.add0 = maybe_slice(c, input(c.source(0), dtype, through, 7));
  if (wanted & kDx0) args.dx0 = maybe_slice(c, output(c.source(0), dtype));
  if (wanted & kDx1 && c.c1) args.dx1 = maybe_slice(c, output(c.source(1), dtype));
  if (wanted & kDgamma) args.dgamma = output({c.channels()}, wide);
  if (wanted & kDbeta) args.dbeta = output({c.channels()}, wide);
  if (wanted & kDemb && c.emb)
    args.demb = maybe_slice(c, output(args.emb.shape(), args.emb.dtype()));
  return args;
}

Outputs gradients(const GroupNormBwdArgs& a) {
  Outputs out;
  for (const auto& [key, t] : {std::pair<const char*, Tensor>{"dx0", a.dx0},
                               {"dx1", a.dx1},
                               {"dgamma", a.dgamma},
                               {"dbeta", a.dbeta},
                               {"demb", a.demb}})
    if (t) out[key] = t;
  return out;
}

class GroupNormTest : public testing::TestWithParam<Case> {};

TEST_P(GroupNormTest, ForwardRowsAgreeWithTheReference) {
  const auto make = [&](DType dtype, DType through) { return forward(GetParam(), dtype, through); };
  const auto collect = [](const auto& a) {
    return Outputs{{"y", a.y}, {"mean_rstd", a.mean_rstd}};
  };
  expect_rows_agree(group_norm_fwd, make, collect, 2);
}

TEST_P(GroupNormTest, BackwardRowsAgreeWithTheReference) {
  const auto make = [&](DType dtype, DType through) {
    return backward(GetParam(), dtype, through);
  };
  expect_rows_agree(group_norm_bwd, make, gradients, 3);
}

// What guidance asks for: only then a row may leave the sums of single channels out.
TEST_P(GroupNormTest, InputGradientRowsAgreeWithTheReference) {
  const auto make = [&](DType dtype, DType through) {
    return backward(GetParam(), dtype, through, kDx0 | kDx1 | kAdd);
  };
  expect_rows_agree(group_norm_bwd, make, gradients, 3);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GroupNormTest,
    testing::Values(
        Case{{2, 4, 4, 32}}, Case{{1, 16, 16, 64}, 0, 32, true, true},
        Case{{3, 5, 7, 96}, 0, 32, false, true}, Case{{2, 8, 8, 192}, 64, 32, true, true},
        Case{{1, 4, 6, 576}, 384, 32, false, true, true},
        Case{{2, 4, 4, 96}, 31, 32, true, true},           // one group has both sources
        Case{{2, 4, 4, 224}, 100, 32, false, true, true},  // likewise
        Case{{2, 8, 8, 64}, 0, 32, true, true, true}, Case{{2, 64, 64}, 0, 32},
        Case{{1, 65, 96}, 32, 4, false, true}, Case{{2, 6, 6, 64}, 24, 32, true, true, false, 3},
        Case{{2, 6, 6, 64}, 24, 32, false, false, false, 1},
        Case{{2, 6, 6, 64}, 24, 32, false, true, true, 2},
        Case{{2, 4, 6, 37}, 14, 1, true, true, false, 0, true},
        Case{{2, 4, 4, 96}, 31, 32, true, true, true, 0, true},
        Case{{2, 4, 4, 64}, 0, 32, true, true, false, 0, false, true},
        Case{{1, 40, 40, 32}, 0, 32, true, true}, Case{{5, 2, 2, 10}, 0, 5},
        Case{{2, 4, 6, 96}, 40, 32, true, true, true, 0, true, false, 0, true},
        Case{{2, 5, 3, 96}, 40, 32, true, true, false, 2, true, true, 3, true},
        Case{{1, 2, 2, 2112}, 0, 32, true, true},  // more vectors than threads
        // A group with channels of both sources, of which one, or both, come with
        // statistics.
        Case{{1, 6, 6, 192}, 128, 32, true, true, false, 1},
        Case{{1, 6, 6, 192}, 128, 32, false, true, true, 2},
        Case{{1, 6, 6, 192}, 128, 32, true, false, false, 3},
        // One block keeps a group: a thread one vector or many, of 2, 4 or 8 channels.
        Case{{2, 4, 4, 128}, 66, 32, true, true}, Case{{1, 32, 32, 48}, 24, 2, true, true},
        Case{{1, 32, 32, 32}, 0, 2, false, true, true}, Case{{1, 32, 32, 60}, 0, 2, true, true},
        Case{{2, 32, 30, 24}, 0, 2, true, true, true},
        Case{{2, 9, 7, 80}, 20, 4, false, true, false, 0, true, false, 2, true}));

// PyTorch's f32 holds a mean of 1e4 to 5e-4 of a unit deviation; E[x^2] - E[x]^2 would lose the
// variance.
TEST(GroupNormOpTest, LargeMeanKeepsTheVariance) {
  for (const double offset : {1e4, -1e4}) {
    const Case c{{2, 16, 16, 64}, 32, 32, false, false, false, 0, false, false, offset};
    const auto make = [&](DType dtype, DType through) {
      (void)through;  // the question is what becomes of given f32 values
      return forward(c, dtype, DType::f32);
    };
    ForceRows reference("group_norm_fwd:reference");
    const Outputs exact = outputs_of<GroupNormFwdArgs>(
        group_norm_fwd, make,
        [](const auto& a) {
          return Outputs{{"y", a.y}};
        },
        DType::f64, DType::f64);
    const GroupNormFwdArgs args = make(DType::f32, DType::f32);
    for_each_row(group_norm_fwd, args, [&](const auto& row) {
      run_here(group_norm_fwd, args);
      const double limit = row.kind == RowKind::reference ? 1e-2 : 1e-3;
      EXPECT_LE(relative_error(args.y, exact.at("y")), limit);
    });
  }
}

TEST(GroupNormOpTest, ReadyStatisticsChangeNothing) {
  Case c{{2, 6, 6, 96}, 31, 32, true, true};
  const GroupNormFwdArgs computed = forward(c, DType::f32, DType::f32);
  c.ready = 3;
  const GroupNormFwdArgs ready = forward(c, DType::f32, DType::f32);
  for_each_row(group_norm_fwd, ready, [&](const auto&) {
    run_here(group_norm_fwd, computed);
    run_here(group_norm_fwd, ready);
    EXPECT_LE(relative_error(ready.y, computed.y), 1e-6);
    EXPECT_LE(relative_error(ready.mean_rstd, computed.mean_rstd), 1e-6);
  });
}

TEST(GroupNormOpTest, GradientsAreComputedOneByOneToo) {
  const Case c{{2, 4, 4, 48}, 17, 4, true, true, true};
  const GroupNormBwdArgs all = backward(c, DType::f32, DType::f32);
  for_each_row(group_norm_bwd, all, [&](const auto&) {
    run_here(group_norm_bwd, all);
    const Outputs expected = gradients(all);
    for (int wanted = 0; wanted < kAll; ++wanted) {
      const GroupNormBwdArgs some = backward(c, DType::f32, DType::f32, wanted);
      check(some);
      run_here(group_norm_bwd, some);
      for (const auto& [key, t] : gradients(some)) EXPECT_EQ(doubles(t), doubles(expected.at(key)));
    }
  });
}

TEST(GroupNormOpTest, GradientsMatchNumericalDifferences) {
  for (const Case& c :
       {Case{{2, 2, 4, 6}, 2, 2, true, true, true}, Case{{2, 3, 3, 6}, 0, 3},
        Case{{2, 3, 3, 6}, 3, 2, true, false}, Case{{2, 2, 2, 6}, 0, 3, false, true, true}}) {
    SCOPED_TRACE(testing::PrintToString(c));
    GroupNormFwdArgs f = forward(c, DType::f64, DType::f64);
    GroupNormBwdArgs b = backward(c, DType::f64, DType::f64);
    const auto loss = [&] {
      run_here(group_norm_fwd, f);
      return weighted_sum(b.dy, f.y);
    };
    run_here(group_norm_bwd, b);
    EXPECT_LE(relative_error(b.dx0, numerical_gradient(f.x0, loss)), 1e-7);
    if (c.c1) {
      EXPECT_LE(relative_error(b.dx1, numerical_gradient(f.x1, loss)), 1e-7);
    }
    EXPECT_LE(relative_error(b.dgamma, numerical_gradient(f.gamma, loss)), 1e-7);
    EXPECT_LE(relative_error(b.dbeta, numerical_gradient(f.beta, loss)), 1e-7);
    if (c.emb) {
      EXPECT_LE(relative_error(b.demb, numerical_gradient(f.emb, loss)), 1e-7);
    }
  }
}

// How many kernels a call launches on simt, by the row that is chosen.
template <class Args>
std::string launches(const Op<Args>& op, const Args& args) {
  struct Count final : TraceSink {
    void on_op(const OpEvent&) override {}
    void on_launch(const LaunchEvent&) override { ++count; }
    int count = 0;
  } count;
  const Args moved = on_device(args, gpu().type);
  const TraceGuard guard(count, TraceLevel::launches);
  run(op, moved);
  return fmt::format("{} {}", choose_row(op, moved).name, count.count);
}

// Launches are what a small batch costs.
TEST(GroupNormOpTest, GpuRowsLaunchFewKernels) {
  if (!available(gpu())) GTEST_SKIP() << no_gpu();
  const auto fwd = [](Case c, int ready) {
    c.ready = ready;
    return launches(group_norm_fwd, forward(c, DType::f16, DType::f16));
  };
  const auto bwd = [](const Case& c, int wanted) {
    return launches(group_norm_bwd, backward(c, DType::f16, DType::f16, wanted));
  };
  const Case small{{2, 8, 8, 64}, 32, 4, true, true}, large{{1, 33, 32, 64}, 32, 4, true, true};
  EXPECT_EQ(fwd(small, 0), "v3_one_block 1");
  EXPECT_EQ(fwd(small, 1), "v3_one_block 1");
  EXPECT_EQ(fwd(small, 3), "v2_vectors 1");
  EXPECT_EQ(fwd(large, 0), "v2_vectors 2");
  EXPECT_EQ(fwd(large, 2), "v2_vectors 2");
  EXPECT_EQ(fwd(large, 3), "v2_vectors 1");
  EXPECT_EQ(bwd(small, kDx0 | kDx1 | kAdd), "v3_one_block 1");
  EXPECT_EQ(bwd(small, kDx0 | kDemb), "v2_vectors 3");
  EXPECT_EQ(bwd(small, kAll), "v2_vectors 4");
  EXPECT_EQ(bwd(large, kDx0 | kDx1), "v2_vectors 2");
  // 1024 pixels of 20 channels are more than a block keeps; backward, where it keeps gradients, too,
  // 16.
  EXPECT_EQ(fwd({{1, 32, 32, 32}, 0, 2}, 0), "v3_one_block 1");
  EXPECT_EQ(fwd({{1, 32, 32, 40}, 0, 2}, 0), "v2_vectors 2");
  EXPECT_EQ(bwd({{1, 32, 32, 24}, 0, 2}, kDx0), "v3_one_block 1");
  EXPECT_EQ(bwd({{1, 32, 32, 32}, 0, 2}, kDx0), "v2_vectors 2");
}

TEST(GroupNormOpTest, CostIsWhatTheReferenceDoes) {
  for (int bits = 0; bits < 32; ++bits) {
    Case c{{2, 2, 4, 12}, bits & 1 ? 5 : 0, 3, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
    if (bits & 16) c.ready = c.c1 ? 2 : 1;
    SCOPED_TRACE(testing::PrintToString(c));
    const GroupNormFwdArgs f = forward(c, DType::f64, DType::f64);
    expect_cost(f, group_norm_fwd_reference<Counted>,
                {f.x0, f.x1, f.gamma, f.beta, f.emb, f.stats0, f.stats1, f.y, f.mean_rstd});
    for (const int wanted :
         {0, int{kDx0}, int{kDx1}, kDgamma | kDbeta, int{kDemb}, int{kAll}, kAll | kAdd}) {
      const GroupNormBwdArgs b = backward(c, DType::f64, DType::f64, wanted);
      std::vector<Tensor> tensors = {b.x0, b.x1, b.gamma, b.beta, b.emb, b.mean_rstd, b.dy, b.add0};
      for (const auto& [key, t] : gradients(b)) tensors.push_back(t);
      expect_cost(b, group_norm_bwd_reference<Counted>, tensors);
    }
  }
}

TEST(GroupNormOpTest, WrongArgumentsAreNamed) {
  const Case c{{2, 4, 4, 190}, 0, 5};
  GroupNormFwdArgs args = forward(c, DType::f32, DType::f32);
  args.groups = 32;
  EXPECT_EQ(message_of([&] { check(args); }),
            "group_norm: C=190 is not divisible by groups=32, x f32[2,4,4,190]");
  args = forward({{2, 4, 4, 192}, 2, 32}, DType::f32, DType::f32);
  args.x1 = Tensor::empty({2, 4, 4, 3});
  EXPECT_EQ(message_of([&] { check(args); }),
            "group_norm: C=193 is not divisible by groups=32, x f32[2,4,4,190] and f32[2,4,4,3]");
  args = forward({{2, 4, 5, 32}}, DType::f32, DType::f32);
  args.pool = true;
  EXPECT_EQ(message_of([&] { check(args); }), "group_norm: 2x2 blocks do not tile x f32[2,4,5,32]");
  args.pool = false;
  args.gamma = Tensor::empty({31});
  EXPECT_EQ(message_of([&] { check(args); }),
            "group_norm: gamma is f32[31], not f32[32], x f32[2,4,5,32]");
  GroupNormBwdArgs bwd = backward({{2, 4, 4, 32}}, DType::f32, DType::f32, kDx0 | kAdd);
  bwd.add0 = bwd.dx0;
  EXPECT_EQ(message_of([&] { check(bwd); }),
            "group_norm_bwd: add0 is dx0 itself, which rows write before they read add0, x "
            "f32[2,4,4,32]");
  bwd.dx0 = {};
  EXPECT_EQ(message_of([&] { check(bwd); }),
            "group_norm_bwd: add0 f32[2,4,4,32] has no dx0 to be added to, x f32[2,4,4,32]");
}

TEST(GroupNormOpTest, NoSamplesAreNoWork) {
  const Case c{{0, 4, 4, 32}};
  GroupNormFwdArgs f = common<GroupNormFwdArgs>(c, DType::f32, DType::f32);
  f.y = Tensor::empty(c.y());
  check(f);
  for_each_row(group_norm_fwd, f, [&](const auto&) { run_here(group_norm_fwd, f); });
}

}  // namespace
}  // namespace tiller
