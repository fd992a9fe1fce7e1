// The reference rows against the definition, and cost() against counting.
#include "kernels/linear/reference.h"
#include "tests/kernels/counted.h"
#include "tests/kernels/linear_util.h"

namespace tiller::test {
namespace {

class LinearReference : public testing::TestWithParam<LinearCase> {};

TEST_P(LinearReference, IsTheDefinition) {
  const LinearCase& c = GetParam();
  const LinearMaker make{c, DType::f64};
  const LinearFwdArgs fwd = make.fwd();
  const LinearDgradArgs dgrad = make.dgrad();
  const LinearWgradArgs wgrad = make.wgrad();
  check(fwd);
  check(dgrad);
  check(wgrad);
  linear_fwd_reference<double>(fwd);
  linear_dgrad_reference<double>(dgrad);
  linear_wgrad_reference<double>(wgrad);
  std::vector<double> x = doubles(fwd.x);
  if (c.silu)
    for (double& v : x) v = v / (1 + std::exp(-v));
  const std::vector<double> w = doubles(fwd.w), y = doubles(fwd.y), dy = doubles(dgrad.dy);
  const std::vector<double> dx = doubles(dgrad.dx), dw = doubles(wgrad.dw);
  const auto rows = static_cast<std::size_t>(fwd.x.rows());
  const auto cs = static_cast<std::size_t>(c.c), ks = static_cast<std::size_t>(c.k);
  std::vector<double> want_dx(rows * cs), want_dw(ks * cs), want_db(ks);
  for (std::size_t m = 0; m < rows; ++m)
    for (std::size_t k = 0; k < ks; ++k) {
      double want = (c.bias ? doubles(fwd.bias)[k] : 0) +
                    (c.residual ? doubles(fwd.residual)[m * ks + k] : 0);
      want_db[k] += dy[m * ks + k];
      for (std::size_t i = 0; i < cs; ++i) {
        want += x[m * cs + i] * w[k * cs + i];
        want_dx[m * cs + i] += dy[m * ks + k] * w[k * cs + i];
        want_dw[k * cs + i] += dy[m * ks + k] * x[m * cs + i];
      }
      ASSERT_NEAR(y[m * ks + k], want, 1e-12 * (1 + std::abs(want)));
    }
  for (std::size_t i = 0; i < dx.size(); ++i) ASSERT_NEAR(dx[i], want_dx[i], 1e-11);
  for (std::size_t i = 0; i < dw.size(); ++i) ASSERT_NEAR(dw[i], want_dw[i], 1e-11);
  for (std::size_t k = 0; c.bias && k < ks; ++k)
    ASSERT_NEAR(doubles(wgrad.dbias)[k], want_db[k], 1e-11);
}

template <class Args, class F>
void expect_cost(const Args& args, const std::vector<Tensor>& tensors, const F& f) {
  Counter counter;
  for (const Tensor& t : tensors) counter.watch(t);
  {
    CountGuard guard(counter);
    f(args);
  }
  const Cost want = cost(args);
  EXPECT_EQ(counter.flops(), want.flops);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_read()), want.bytes_read);
  EXPECT_EQ(8.0 * static_cast<double>(counter.elements_written()), want.bytes_written);
}

TEST_P(LinearReference, CostIsWhatIsCounted) {
  const LinearMaker make{GetParam(), DType::f64};
  const LinearFwdArgs fwd = make.fwd();
  expect_cost(fwd, {fwd.x, fwd.w, fwd.bias, fwd.residual, fwd.y}, linear_fwd_reference<Counted>);
  const LinearDgradArgs dgrad = make.dgrad();
  expect_cost(dgrad, {dgrad.dy, dgrad.w, dgrad.dx}, linear_dgrad_reference<Counted>);
  const LinearWgradArgs wgrad = make.wgrad();
  expect_cost(wgrad, {wgrad.x, wgrad.dy, wgrad.dw, wgrad.dbias}, linear_wgrad_reference<Counted>);
}

INSTANTIATE_TEST_SUITE_P(Cases, LinearReference, testing::ValuesIn(linear_cases()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(LinearCheck, NamesWhatIsWrong) {
  const LinearCase c{"check", {4, 3}, 8, 16, true, true};
  const LinearMaker make{c, DType::f32};
  const auto throws = [&](const char* part, const auto& change) {
    LinearFwdArgs args = make.fwd();
    check(args);
    change(args);
    try {
      check(args);
      ADD_FAILURE() << "no error that says " << part;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  throws("x none", [](auto& a) { a.x = {}; });
  throws("w f32", [](auto& a) { a.w = Tensor::empty({16, 7}); });
  throws("w f16", [](auto& a) { a.w = Tensor::empty({16, 8}, DType::f16); });
  throws("bias", [](auto& a) { a.bias = Tensor::empty({8}); });
  throws("residual", [](auto& a) { a.residual = Tensor::empty({4, 3, 8}); });
  throws("y is", [](auto& a) { a.y = Tensor::empty({3, 4, 16}); });
  LinearDgradArgs dgrad = make.dgrad();
  dgrad.dx = Tensor::empty({4, 3, 9});
  EXPECT_THROW(check(dgrad), Error);
  LinearWgradArgs wgrad = make.wgrad();
  wgrad.dy = Tensor::empty({4, 2, 16});
  EXPECT_THROW(check(wgrad), Error);
}

}  // namespace
}  // namespace tiller::test
