#include "tools/quality/frechet.h"

#include <algorithm>
#include <cmath>

#include "runtime/parallel.h"

namespace tiller::quality {

Gaussian fit_gaussian(const Tensor& features) {
  TILLER_CHECK(features.rank() == 2 && features.dim(0) >= 2,
               "a normal distribution is fitted to two vectors or more, not to {}",
               to_string(features));
  const std::int64_t n = features.dim(0), f = features.dim(1);
  const std::vector<float> values = features.to_vector<float>();
  Gaussian fit{std::vector<double>(static_cast<std::size_t>(f)), Matrix(f)};
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < f; ++j)
      fit.mean[static_cast<std::size_t>(j)] += values[static_cast<std::size_t>(i * f + j)];
  for (double& mean : fit.mean) mean /= static_cast<double>(n);
  std::vector<double> centred(values.begin(), values.end());  // [N,F]
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < f; ++j)
      centred[static_cast<std::size_t>(i * f + j)] -= fit.mean[static_cast<std::size_t>(j)];
  launch("covariance", f, [&](std::int64_t a) {
    double* row = fit.covariance.row(a);
    for (std::int64_t i = 0; i < n; ++i) {
      const double* x = centred.data() + i * f;
      const double factor = x[a] / static_cast<double>(n - 1);
      for (std::int64_t b = 0; b < f; ++b) row[b] += factor * x[b];
    }
  });
  return fit;
}

double frechet_distance(const Gaussian& a, const Gaussian& b) {
  const std::int64_t f = a.covariance.n;
  TILLER_CHECK(f == b.covariance.n, "features of {} and of {} numbers cannot be compared", f,
               b.covariance.n);
  double distance = 0;
  for (std::size_t i = 0; i < a.mean.size(); ++i)
    distance += (a.mean[i] - b.mean[i]) * (a.mean[i] - b.mean[i]);
  const Matrix root = symmetric_sqrt(a.covariance);
  const Eigen between = symmetric_eigen(product(product(root, b.covariance), root), false);
  for (const double value : between.values) distance -= 2 * std::sqrt(std::max(0.0, value));
  for (std::int64_t i = 0; i < f; ++i) distance += a.covariance.row(i)[i] + b.covariance.row(i)[i];
  return std::max(0.0, distance);  // rounding
}

}  // namespace tiller::quality
