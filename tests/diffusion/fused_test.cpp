// The fused step against the tensor operations that define it, for every setting there is.
#include <fmt/format.h>

#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

const Shape kShape{2, 3, 5, 3};

struct Setting {
  MeanKind mean;
  VarianceType variance;
  bool clip, ddim, guided;
  double eta;
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const MeanKind mean : {MeanKind::epsilon, MeanKind::x_start, MeanKind::previous_x})
    for (const VarianceType variance : {VarianceType::learned, VarianceType::fixed_small,
                                        VarianceType::fixed_large, VarianceType::learned_range})
      for (const bool clip : {false, true})
        for (const bool guided : {false, true}) {
          all.push_back({mean, variance, clip, false, guided, 0});
          for (const double eta : {0.0, 0.5, 1.0})
            all.push_back({mean, variance, clip, true, guided, eta});
        }
  return all;
}

// An output that depends on x_t and on the step, of about the right size for each kind of mean.
Model some_model(const Setting& s) {
  return [s](const Var& x_t, const Tensor& timestep) {
    const auto seed = static_cast<std::uint64_t>(timestep.to_vector<float>()[0]);
    const Var out = add(affine(x_t, 0.6, 0.1), noise_of(x_t.shape(), seed), 1, 0.5);
    if (s.variance != VarianceType::learned && s.variance != VarianceType::learned_range)
      return out;
    return concat(out, affine(tanh(noise_of(x_t.shape(), seed + 1)), 1, -0.5));
  };
}

Tensor some_gradient(const Tensor& x_t, const Tensor& timestep) {
  const auto seed = static_cast<std::uint64_t>(timestep.to_vector<float>()[0]);
  return affine(noise_of(x_t.shape(), seed + 2), 0.7, 0).value();
}

double norm(const Tensor& t) {
  double sum = 0;
  for (const double v : doubles(t)) sum += v * v;
  return std::sqrt(sum);
}

TEST(FusedStep, IsTheTensorOperations) {
  for (const char* schedule : {"linear", "cosine"})
    for (const Setting& s : settings()) {
      SCOPED_TRACE(fmt::format("{} mean {} variance {} clip {} ddim {} guided {} eta {}", schedule,
                               static_cast<int>(s.mean), static_cast<int>(s.variance), s.clip,
                               s.ddim, s.guided, s.eta));
      const GaussianDiffusion d = process(1000, schedule, "6", s.variance, s.mean);
      const Model model = some_model(s);
      const Guide guide = s.guided ? Guide(some_gradient) : Guide();
      const NoiseSource noise = philox_noise(11, 0);
      SampleOptions options;
      options.ddim = s.ddim;
      options.eta = s.eta;
      options.clip = s.clip;
      Sampler sampler(d, model, guide, options, kShape, noise);
      for (std::int64_t draw = 1; !sampler.done(); ++draw) {
        const Tensor x_t = sampler.sample();
        const StepOutput fused = sampler.next();
        const Tensor seen = d.timesteps(same_step(fused.step, kShape[0]));
        const StepOutput expected = (s.ddim ? ddim_step : ddpm_step)(
            d, model(x_t, seen).value(), x_t, fused.step, guide ? guide(x_t, seen) : Tensor(),
            noise(draw, kShape), options);
        // Both are sums of terms that may cancel: the rounding is the terms'.
        const double x = norm(x_t), a = norm(fused.sample), b = norm(fused.x_start);
        const auto t = static_cast<std::size_t>(fused.step);
        ASSERT_LT(norm(sub(fused.sample, expected.sample).value()), 1e-6 * (a + x))
            << "step " << fused.step;
        ASSERT_LT(norm(sub(fused.x_start, expected.x_start).value()),
                  1e-6 * (b + x * d.coefficients().sqrt_recip_alphas_cumprod[t]))
            << "step " << fused.step;
      }
    }
}

}  // namespace
}  // namespace tiller
