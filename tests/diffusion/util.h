#pragma once
// What these tests share: models that need no network, and comparisons.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "diffusion/sampler.h"

namespace tiller::test {

/// A process by its parts.
inline GaussianDiffusion process(std::int64_t steps, const std::string& schedule,
                                 const std::string& respacing, VarianceType variance,
                                 MeanKind mean = MeanKind::epsilon, LossType loss = LossType::mse) {
  DiffusionConfig config;
  config.diffusion_steps = steps;
  config.noise_schedule = schedule;
  config.timestep_respacing = respacing;
  config.variance = variance;
  config.mean = mean;
  config.loss = loss;
  return GaussianDiffusion(config);
}

/// The step of a batch's timestep (the same for every sample).
inline std::size_t step_of(const GaussianDiffusion& diffusion, const Tensor& timestep) {
  const auto t = static_cast<std::int64_t>(timestep.to_vector<float>()[0]);
  const auto at = std::find(diffusion.kept().begin(), diffusion.kept().end(), t);
  EXPECT_NE(at, diffusion.kept().end()) << "timestep " << t << " is none of the process's";
  return static_cast<std::size_t>(at - diffusion.kept().begin());
}

/// Normal values that depend on seed and sample alone, f32.
inline Tensor noise_of(const Shape& shape, std::uint64_t seed) {
  const Tensor t = Tensor::empty(shape);
  fill_normal(t, {.seed = seed, .sample = 0, .step = 0, .stream = RandomStream::init});
  return t;
}

inline Tensor f64(const Tensor& t) { return cast(t, DType::f64).value(); }

/// Any floating tensor as doubles.
inline std::vector<double> doubles(const Tensor& t) { return f64(t).to_vector<double>(); }

inline double largest_difference(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = doubles(a), y = doubles(b);
  if (x.size() != y.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::isfinite(x[i]) ? std::abs(x[i] - y[i]) : INFINITY);
  return largest;
}

/// ||a - b|| / ||b||.
inline double relative_error(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = doubles(a), y = doubles(b);
  if (x.size() != y.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    norm += y[i] * y[i];
  }
  const double error = std::sqrt(norm > 0 ? difference / norm : difference);
  return std::isfinite(error) ? error : INFINITY;
}

/// What `f` says when it refuses.
inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace tiller::test
