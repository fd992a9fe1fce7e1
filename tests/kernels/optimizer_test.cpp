#include "kernels/optimizer/optimizer.h"

#include "kernels/optimizer/reference.h"
#include "tests/kernels/agree.h"

namespace tiller {
namespace {

using namespace test;

// Sizes of a network: scalars, odd vectors, a matrix of more than one piece, nothing.
const std::vector<Shape> kShapes{{1}, {17}, {129, 257}, {0}, {3, 3, 5}, {40000}};

std::vector<Tensor> list_of(DType dtype, unsigned seed, double scale = 1) {
  std::vector<Tensor> list;
  for (const Shape& shape : kShapes) list.push_back(randn(shape, dtype, seed++, scale));
  return list;
}

std::vector<double> all_doubles(const std::vector<Tensor>& list) {
  std::vector<double> out;
  for (const Tensor& t : list)
    for (const double v : doubles(t)) out.push_back(v);
  return out;
}

double list_error(const std::vector<Tensor>& list, const std::vector<double>& expected) {
  const std::vector<double> got = all_doubles(list);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

AdamWArgs adamw_args(DType dtype) {
  AdamWArgs args;
  args.p = list_of(dtype, 1);
  args.grad = list_of(dtype, 100);
  args.m = list_of(dtype, 200, 0);
  args.v = list_of(dtype, 300, 0);
  args.lr = 0.01;
  args.beta1 = 0.8;
  args.weight_decay = 0.05;
  args.grad_scale = 0.125;
  return args;
}

// Ten steps, with a new gradient at each; the gradient of step s is that of step 1 times cos(s).
void ten_steps(AdamWArgs args, const std::function<void(const AdamWArgs&)>& step) {
  std::vector<Tensor> first;
  for (const Tensor& t : args.grad) first.push_back(t.clone());
  for (args.step = 1; args.step <= 10; ++args.step) {
    for (std::size_t i = 0; i < first.size(); ++i) {
      std::vector<double> g = doubles(first[i]);
      for (double& v : g) v *= std::cos(static_cast<double>(args.step));
      args.grad[i].copy_from(tensor_of(g, first[i].shape(), first[i].dtype()));
    }
    step(args);
  }
}

// Loshchilov & Hutter, Algorithm 2, line by line in double.
std::vector<double> adamw_by_hand() {
  const AdamWArgs start = adamw_args(DType::f64);
  std::vector<double> p = all_doubles(start.p), m(p.size(), 0.0), v(p.size(), 0.0);
  ten_steps(start, [&](const AdamWArgs& args) {
    const std::vector<double> grad = all_doubles(args.grad);
    const auto t = static_cast<double>(args.step);
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double g = grad[i] * 0.125;
      p[i] -= 0.01 * 0.05 * p[i];
      m[i] = 0.8 * m[i] + 0.2 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.8, t)), v_hat = v[i] / (1 - std::pow(0.999, t));
      p[i] -= 0.01 * m_hat / (std::sqrt(v_hat) + 1e-8);
    }
  });
  return p;
}

TEST(OptimizerTest, TenStepsOfAdamW) {
  const ThreadsGuard restore;
  const std::vector<double> expected = adamw_by_hand();
  for (const DType dtype : {DType::f64, DType::f32}) {
    for_each_row(adamw, adamw_args(dtype), [&](const Row<AdamWArgs>&) {
      std::vector<double> first;
      for (const int count : {1, 2, 3}) {
        set_threads(count);
        const AdamWArgs args = adamw_args(dtype);
        check(args);
        const std::uint64_t version = args.p[0].storage()->version();
        ten_steps(args, [](const AdamWArgs& step) { run_here(adamw, step); });
        EXPECT_LT(list_error(args.p, expected), dtype == DType::f64 ? 1e-12 : 1e-6);
        EXPECT_EQ(
            args.p[0].storage()->version(),
            version + (device_here() == DeviceType::cpu ? 10 : 0));  // else of the moved tensor
        if (count == 1) first = all_doubles(args.p);
        EXPECT_EQ(all_doubles(args.p), first);
      }
    });
  }
}

TEST(OptimizerTest, AverageScaleAndNormOfSlices) {
  const ThreadsGuard restore;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    const Tensor ema = as_slice(randn({70, 333}, DType::f32, 1)),
                 p = randn({70, 333}, DType::f32, 2);
    const Tensor kept = ema.clone();
    const EmaArgs average{{ema}, {p}, 0.9};
    check(average);
    for_each_row(ema_update, average, [&](const Row<EmaArgs>&) {
      ema.copy_from(kept);
      const std::uint64_t version = ema.storage()->version();
      run_here(ema_update, average);
      EXPECT_EQ(ema.storage()->version(),
                version + (device_here() == DeviceType::cpu ? 1 : 0));  // else of the moved tensor
      std::vector<double> expected = doubles(kept);
      const std::vector<double> other = doubles(p);
      for (std::size_t i = 0; i < other.size(); ++i)
        expected[i] = 0.9 * expected[i] + 0.1 * other[i];
      EXPECT_LT(relative_error(ema, tensor_of(expected, ema.shape(), DType::f64)), 1e-6);
    });
    const ScaleAllArgs scaled{{ema, p.clone()}, 0.25};
    check(scaled);
    for_each_row(scale_all, scaled, [&](const Row<ScaleAllArgs>&) {
      ema.copy_from(kept);
      run_here(scale_all, scaled);
      std::vector<double> expected = doubles(kept);
      for (double& v : expected) v *= 0.25;
      EXPECT_EQ(doubles(ema), expected);
    });
  }
}

TEST(OptimizerTest, EmaAndScaleOfLists) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const std::vector<double> a = all_doubles(list_of(dtype, 1)),
                              b = all_doubles(list_of(dtype, 50));
    std::vector<double> mixed, scaled;
    for (std::size_t i = 0; i < a.size(); ++i) mixed.push_back(0.75 * a[i] + 0.25 * b[i]);
    for (const double v : a) scaled.push_back(-2 * v);
    for_each_row(ema_update, EmaArgs{list_of(dtype, 1), list_of(dtype, 50), 0.75},
                 [&](const auto&) {
                   const EmaArgs args{list_of(dtype, 1), list_of(dtype, 50), 0.75};
                   check(args);
                   run_here(ema_update, args);
                   EXPECT_LT(list_error(args.ema, mixed), 1e-6);
                 });
    for_each_row(scale_all, ScaleAllArgs{list_of(dtype, 1), -2}, [&](const auto&) {
      const ScaleAllArgs args{list_of(dtype, 1), -2};
      run_here(scale_all, args);
      EXPECT_EQ(all_doubles(args.x), scaled);
    });
  }
}

TEST(OptimizerTest, NormOfEverything) {
  const ThreadsGuard restore;
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    const std::vector<Tensor> x = list_of(dtype, 1);
    double expected = 0;
    for (const double v : all_doubles(x)) expected += 0.25 * v * v;
    expected = std::sqrt(expected);
    const NormArgs args{x, output({2}, DType::f64), 0.5};
    check(args);
    for_each_row(global_norm, args, [&](const Row<NormArgs>&) {
      std::vector<double> first;
      for (const int count : {1, 2, 3}) {
        set_threads(count);
        poison(args.out);
        run_here(global_norm, args);
        if (count == 1) first = doubles(args.out);
        EXPECT_EQ(doubles(args.out), first);
        EXPECT_NEAR(first[0] / expected, 1, 1e-12);
        EXPECT_EQ(first[1], 0);
      }
    });
  }
  const NormArgs none{{}, output({2}, DType::f64), 1};
  for_each_row(global_norm, none, [&](const auto&) {
    poison(none.out);
    run_here(global_norm, none);
    EXPECT_EQ(doubles(none.out), (std::vector<double>{0, 0}));
  });
}

TEST(OptimizerTest, NormFlagsWhatIsNotFinite) {
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16})
    for (const double bad : {static_cast<double>(NAN), HUGE_VAL, -HUGE_VAL})
      for (const std::int64_t at : {0, 20, 39999}) {
        std::vector<Tensor> x = list_of(dtype, 1);
        std::vector<double> values = doubles(x.back());
        values[static_cast<std::size_t>(at)] = bad;
        x.back() = tensor_of(values, x.back().shape(), dtype);
        const NormArgs args{x, output({2}, DType::f64), 0.5};
        for_each_row(global_norm, args, [&](const auto&) {
          run_here(global_norm, args);
          EXPECT_EQ(doubles(args.out)[1], 1);
        });
      }
  // Large values are no infinity, although their squares overflow f32.
  const NormArgs large{{tensor_of({3e38, -3e38}, {2}, DType::f32)}, output({2}, DType::f64), 2};
  for_each_row(global_norm, large, [&](const auto&) {
    run_here(global_norm, large);
    EXPECT_EQ(doubles(large.out)[1], 0);
    EXPECT_NEAR(doubles(large.out)[0] / (6e38 * std::sqrt(2)), 1, 1e-6);
  });
}

TEST(OptimizerTest, OneLaunchForAll) {
  struct Sink final : TraceSink {
    void on_op(const OpEvent&) override {}
    void on_launch(const LaunchEvent&) override { ++launches; }
    int launches = 0;
  };
  const AdamWArgs args = adamw_args(DType::f32);
  Sink sink;
  const TraceGuard guard(sink, TraceLevel::launches);
  run_here(adamw, args);
  run_here(ema_update, EmaArgs{args.m, args.p, 0.5});
  run_here(global_norm, NormArgs{args.p, output({2}, DType::f64), 1});
  run_here(scale_all, ScaleAllArgs{args.p, 1});
  EXPECT_EQ(sink.launches, 4);
}

TEST(OptimizerTest, CostIsWhatTheReferenceDoes) {
  const auto list = [](unsigned seed) {
    return std::vector<Tensor>{randn({7}, DType::f64, seed),
                               randn({3, 5000}, DType::f64, seed + 1)};
  };
  AdamWArgs args;
  args.p = list(1), args.grad = list(2), args.m = list(3);
  args.v = {tensor_of(std::vector<double>(7, 1.0), {7}, DType::f64),
            tensor_of(std::vector<double>(15000, 1.0), {3, 5000}, DType::f64)};
  std::vector<Tensor> all;
  for (const auto* tensors : {&args.p, &args.grad, &args.m, &args.v})
    all.insert(all.end(), tensors->begin(), tensors->end());
  expect_cost(args, adamw_reference<Counted>, all);
  expect_cost(EmaArgs{args.m, args.p, 0.5}, ema_reference<Counted>,
              {args.m[0], args.m[1], args.p[0], args.p[1]});
  const Tensor out = output({2}, DType::f64);
  expect_cost(NormArgs{args.p, out, 2}, norm_reference<Counted>, {args.p[0], args.p[1], out});
  expect_cost(NormArgs{{}, out, 2}, norm_reference<Counted>, {out});
  expect_cost(ScaleAllArgs{args.p, 2}, scale_all_reference<Counted>, args.p);
}

TEST(OptimizerTest, WrongArgumentsAreNamed) {
  AdamWArgs args = adamw_args(DType::f32);
  args.grad.pop_back();
  EXPECT_NE(message_of([&] { check(args); }).find("5 tensors in grad, 6 parameters"),
            std::string::npos);
  args = adamw_args(DType::f32);
  args.m[1] = Tensor::empty({17}, DType::f16);
  EXPECT_NE(message_of([&] { check(args); }).find("m 1 is f16[17]"), std::string::npos);
  args = adamw_args(DType::f32);
  args.step = 0;
  EXPECT_NE(message_of([&] { check(args); }).find("step=0"), std::string::npos);
  EXPECT_NE(message_of([&] {
              check(NormArgs{{}, Tensor::empty({2})});
            }).find("out f32[2] is not f64"),
            std::string::npos);
}

}  // namespace
}  // namespace tiller
