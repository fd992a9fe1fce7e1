// The numbers of diffusion/README.md's worked example.
#include "diffusion/guidance.h"
#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

TEST(Readme, OneGuidedStepByNumbers) {
  const GaussianDiffusion d = process(1000, "linear", "10", VarianceType::learned_range);
  const Coefficients& k = d.coefficients();
  EXPECT_EQ(d.timestep(3), 333);
  EXPECT_NEAR(k.alphas_cumprod[3], 0.31862, 1e-5);
  EXPECT_NEAR(k.alphas_cumprod_prev[3], 0.59681, 1e-5);
  EXPECT_NEAR(k.betas[3], 0.46612, 1e-5);
  EXPECT_NEAR(k.posterior_variance[3], 0.27582, 1e-5);
  EXPECT_NEAR(k.posterior_mean_coef1[3], 0.52848, 1e-5);
  EXPECT_NEAR(k.posterior_mean_coef2[3], 0.43236, 1e-5);

  const Shape one{1, 1, 1, 1};
  const auto value = [&](double v) { return Tensor::from(std::vector<double>{v}, one); };
  const auto number = [](const Tensor& t) { return doubles(t)[0]; };
  const Tensor x_t = value(0.9), z = value(-1),
               gradient =
                   scaled([&](const Tensor&, const Tensor&) { return value(0.1); }, 5)(x_t, {});
  const Tensor output = concat(value(0.2), value(0.2)).value();
  const Tensor step = same_step(3, 1);
  EXPECT_NEAR(number(d.predict_x_start_from_epsilon(x_t, step, value(0.2)).value()), 1.30195, 1e-5);

  const Prediction p = d.p_mean_variance(output, x_t, step, true);
  EXPECT_NEAR(number(p.log_variance.value()), -0.97320, 1e-5);
  EXPECT_NEAR(number(p.variance.value()), 0.37787, 1e-5);
  EXPECT_NEAR(number(p.mean.value()), 0.91760, 1e-5);
  EXPECT_NEAR(number(condition_mean(p, gradient).mean.value()), 1.10654, 1e-5);
  const StepOutput ddpm = ddpm_step(d, output, x_t, 3, gradient, z, {});
  EXPECT_NEAR(number(ddpm.sample), 0.49183, 1e-5);
  EXPECT_EQ(number(ddpm.x_start), 1);
  EXPECT_NEAR(number(ddpm_step(d, output, x_t, 3, {}, z, {}).sample), 0.30289, 1e-5);

  EXPECT_NEAR(number(d.predict_epsilon_from_x_start(x_t, step, p.x_start).value()), 0.40648, 1e-5);
  const Prediction guided = condition_score(d, p, x_t, step, gradient);
  EXPECT_NEAR(number(d.predict_epsilon_from_x_start(x_t, step, guided.x_start).value()), -0.00625,
              1e-5);
  const StepOutput ddim = ddim_step(d, output, x_t, 3, gradient, z, {.ddim = true});
  EXPECT_NEAR(number(ddim.x_start), 1.60355, 1e-5);
  EXPECT_NEAR(number(ddim.sample), 1.23483, 1e-5);
  EXPECT_NEAR(number(ddim_step(d, output, x_t, 3, {}, z, {.ddim = true}).sample), 1.03064, 1e-5);
}

}  // namespace
}  // namespace tiller
