#pragma once
// Symmetric matrices by their eigenvalues: what a distance between covariances needs.
#include <cstdint>
#include <vector>

namespace tiller::quality {

/// A square matrix of doubles, row by row.
struct Matrix {
  std::int64_t n = 0;
  std::vector<double> values;  // [n,n]
  Matrix() = default;
  explicit Matrix(std::int64_t size)
      : n(size), values(static_cast<std::size_t>(size) * static_cast<std::size_t>(size)) {}
  double* row(std::int64_t i) { return values.data() + i * n; }
  const double* row(std::int64_t i) const { return values.data() + i * n; }
};

/// A b, both [n,n].
Matrix product(const Matrix& a, const Matrix& b);
/// A transposed.
Matrix transposed(const Matrix& a);

/// A = sum over i of values[i] v_i v_i^T.
struct Eigen {
  std::vector<double> values;  ///< in no particular order
  Matrix vectors;  ///< v_i is row i, of length 1; empty where only values were asked for
};

/// The eigenvalues and, if asked for, the eigenvectors of a symmetric matrix (its upper triangle
/// counts): Householder's reflections to tridiagonal form, then implicit QR steps with Wilkinson's
/// shift (Golub & Van Loan 2013, algorithms 8.3.1 to 8.3.3). About 9 n^3 multiply-adds with vectors.
/// Errors are about 1e-16 of the largest eigenvalue. Throws Error for numbers that are not finite.
Eigen symmetric_eigen(Matrix a, bool vectors);

/// The symmetric S with S S = A, for a symmetric A without negative eigenvalues; those that rounding
/// has made negative count as 0.
Matrix symmetric_sqrt(const Matrix& a);

}  // namespace tiller::quality
