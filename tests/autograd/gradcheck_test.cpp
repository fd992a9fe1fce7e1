#include "autograd/gradcheck.h"

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "tests/kernels/helpers.h"

namespace tiller {
namespace {

TEST(Gradcheck, EveryOperationWithEveryOption) {
  for (const GradcheckCase& one : gradcheck_cases()) {
    SCOPED_TRACE(one.name);
    const GradcheckReport report = gradcheck(one);
    EXPECT_TRUE(report.passed()) << report.text();
    EXPECT_EQ(report.inputs.size(), one.inputs.size());
    for (const GradcheckReport::Input& input : report.inputs) EXPECT_GT(input.probed, 0);
  }
}

// An operation whose backward is wrong in one element only.
Var faulty(const Var& x, std::int64_t element, double factor) {
  return record("faulty", {x}, x.value().clone(), saved(),
                [=](const Saved&, const Tensor& dy, Needs) {
                  const Tensor dx = dy.clone();
                  dx.data<double>()[element] *= factor;
                  return Grads{dx};
                });
}

TEST(Gradcheck, NamesTheWorstElement) {
  const Tensor a = test::randn({3, 4}, DType::f64, 1), b = test::randn({3, 4}, DType::f64, 2);
  const GradcheckFunction f = [](const std::vector<Var>& v) {
    return mul(v[0], faulty(v[1], 7, 1.001));
  };
  const GradcheckReport report = gradcheck(f, {a, b});
  EXPECT_FALSE(report.passed());
  EXPECT_EQ(report.worst_input, 1u);
  EXPECT_EQ(report.inputs[1].worst.index, 7);
  EXPECT_NEAR(report.worst_error(), 1e-3, 1e-5);
  EXPECT_NEAR(report.inputs[1].worst.analytic, 1.001 * report.inputs[1].worst.numeric, 1e-6);
  EXPECT_LT(report.inputs[0].worst.error, 1e-8);
  EXPECT_NE(report.text().find("WRONG"), std::string::npos);
  EXPECT_NE(report.text().find("input 1 [3,4], element 7"), std::string::npos) << report.text();
  EXPECT_TRUE(gradcheck(f, {a, b}, {.tolerance = 1e-2}).passed());
}

TEST(Gradcheck, SeesAMissingGradientAndNaN) {
  const Tensor x = test::randn({5}, DType::f64, 3);
  const auto detached = [](const std::vector<Var>& v) {
    return add(v[0], exp(v[0].value().clone()));  // half of the derivative is cut off
  };
  EXPECT_FALSE(gradcheck(detached, {x}).passed());
  const auto nan = [](const std::vector<Var>& v) { return faulty(v[0], 2, NAN); };
  EXPECT_EQ(gradcheck(nan, {x}).worst_error(), INFINITY);
  EXPECT_EQ(gradcheck(nan, {x}).inputs[0].worst.index, 2);
}

TEST(Gradcheck, ProbesAFixedRandomChoice) {
  const Tensor x = test::randn({1000}, DType::f64, 4);
  int calls = 0;
  const auto f = [&](const std::vector<Var>& v) {
    ++calls;
    return square(v[0]);
  };
  const GradcheckReport report = gradcheck(f, {x}, {.max_elements = 10});
  EXPECT_EQ(report.inputs[0].probed, 10);
  EXPECT_EQ(calls, 21);
  EXPECT_EQ(gradcheck(f, {x}, {.max_elements = 10}).inputs[0].worst.index,
            report.inputs[0].worst.index);
  EXPECT_EQ(gradcheck(f, {x}, {.max_elements = 0}).inputs[0].probed, 1000);
}

TEST(Gradcheck, LeavesItsInputsAlone) {
  const Tensor x = test::randn({4}, DType::f64, 5);
  const std::vector<double> before = x.to_vector<double>();
  gradcheck([](const std::vector<Var>& v) { return exp(v[0]); }, {x});
  EXPECT_EQ(x.to_vector<double>(), before);
  EXPECT_THROW(
      gradcheck([](const std::vector<Var>& v) { return v[0]; }, {test::randn({4}, DType::f32, 5)}),
      Error);
}

}  // namespace
}  // namespace tiller
