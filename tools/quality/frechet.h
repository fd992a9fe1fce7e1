#pragma once
#include "runtime/tensor.h"
#include "tools/quality/eigen.h"

namespace tiller::quality {

/// A normal distribution fitted to vectors.
struct Gaussian {
  std::vector<double> mean;  // [F]
  Matrix covariance;         // [F,F], divided by N - 1
};

/// features [N,F] f32. Throws Error for fewer than two vectors.
Gaussian fit_gaussian(const Tensor& features);

/// |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^(1/2)): the squared Wasserstein distance of two normal
/// distributions (Dowson & Landau 1982), which Heusel et al. 2017 take between features of pictures.
/// tr (A B)^(1/2) is the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which is
/// symmetric. Not below 0. Throws Error where the lengths differ.
double frechet_distance(const Gaussian& a, const Gaussian& b);

}  // namespace tiller::quality
