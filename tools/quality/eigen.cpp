#include "tools/quality/eigen.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/error.h"
#include "runtime/parallel.h"

namespace tiller::quality {

namespace {

double dot(const double* a, const double* b, std::int64_t n) {
  // Four chains, so that an addition need not wait for the one before it.
  double s[4] = {};
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (std::int64_t k = 0; k < 4; ++k) s[k] += a[i + k] * b[i + k];
  for (; i < n; ++i) s[0] += a[i] * b[i];
  return (s[0] + s[1]) + (s[2] + s[3]);
}

void add_scaled(double* to, const double* from, double factor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

/// A = Q T Q^T with T tridiagonal.
struct Tridiagonal {
  std::vector<double> diagonal, beside;  // [n], [n-1]
  Matrix rows;                           // Q^T, or empty
};

// Step k reflects along v, so that row k has nothing right of its neighbour: H = I - 2 v v^T, and
// H A H = A - 2 v w^T - 2 w v^T with w = p - (v.p) v, p = A v.
Tridiagonal tridiagonalise(Matrix& a, bool vectors) {
  const std::int64_t n = a.n;
  Tridiagonal t;
  t.diagonal.resize(static_cast<std::size_t>(n));
  t.beside.resize(static_cast<std::size_t>(std::max<std::int64_t>(n - 1, 0)));
  std::vector<std::vector<double>> reflections;
  for (std::int64_t k = 0; k + 1 < n; ++k) {
    const std::int64_t m = n - k - 1;  // what is left below and right of row k
    const double* x = a.row(k) + k + 1;
    std::vector<double> v(x, x + m);
    const double length = std::sqrt(dot(x, x, m));
    const double tail = m > 1 ? dot(x + 1, x + 1, m - 1) : 0;
    t.diagonal[static_cast<std::size_t>(k)] = a.row(k)[k];
    if (tail == 0) {  // nothing to reflect away
      t.beside[static_cast<std::size_t>(k)] = x[0];
      reflections.emplace_back();
      continue;
    }
    const double alpha = x[0] > 0 ? -length : length;  // away from x: no cancellation
    t.beside[static_cast<std::size_t>(k)] = alpha;
    v[0] -= alpha;
    const double scale = 1 / std::sqrt(v[0] * v[0] + tail);
    for (double& value : v) value *= scale;
    std::vector<double> w(static_cast<std::size_t>(m));
    launch("reflect", m, [&](std::int64_t i) {
      w[static_cast<std::size_t>(i)] = dot(a.row(k + 1 + i) + k + 1, v.data(), m);
    });
    add_scaled(w.data(), v.data(), -dot(w.data(), v.data(), m), m);
    launch("reflect", m, [&](std::int64_t i) {
      double* row = a.row(k + 1 + i) + k + 1;
      add_scaled(row, w.data(), -2 * v[static_cast<std::size_t>(i)], m);
      add_scaled(row, v.data(), -2 * w[static_cast<std::size_t>(i)], m);
    });
    reflections.push_back(std::move(v));
  }
  if (n > 0) t.diagonal.back() = a.row(n - 1)[n - 1];
  if (!vectors) return t;
  // Q^T = ... H_1 H_0, built from the last one on: then only its lower right corner is not trivial.
  t.rows = Matrix(n);
  for (std::int64_t i = 0; i < n; ++i) t.rows.row(i)[i] = 1;
  for (std::int64_t k = static_cast<std::int64_t>(reflections.size()) - 1; k >= 0; --k) {
    const std::vector<double>& v = reflections[static_cast<std::size_t>(k)];
    const auto m = static_cast<std::int64_t>(v.size());
    launch("reflect", m, [&](std::int64_t i) {
      double* row = t.rows.row(k + 1 + i) + k + 1;
      add_scaled(row, v.data(), -2 * dot(row, v.data(), m), m);
    });
  }
  return t;
}

// One implicit QR step on the block first .. last, none of whose neighbours is zero.
void chase_bulge(Tridiagonal& t, std::size_t first, std::size_t last) {
  std::vector<double>&d = t.diagonal, &e = t.beside;
  const double half = (d[last - 1] - d[last]) / 2, corner = e[last - 1];
  const double shift =
      d[last] - corner * corner / (half + std::copysign(std::hypot(half, corner), half));
  double x = d[first] - shift, bulge = e[first];
  for (std::size_t k = first; k < last; ++k) {
    const double r = std::hypot(x, bulge);
    const double c = r > 0 ? x / r : 1, s = r > 0 ? bulge / r : 0;
    if (k > first) e[k - 1] = r;
    const double a = d[k], b = e[k], f = d[k + 1];
    d[k] = c * c * a + 2 * c * s * b + s * s * f;
    d[k + 1] = s * s * a - 2 * c * s * b + c * c * f;
    e[k] = c * s * (f - a) + (c * c - s * s) * b;
    if (k + 1 < last) {
      x = e[k];
      bulge = s * e[k + 1];
      e[k + 1] *= c;
    }
    if (t.rows.n == 0) continue;
    double* upper = t.rows.row(static_cast<std::int64_t>(k));
    double* lower = upper + t.rows.n;
    for (std::int64_t i = 0; i < t.rows.n; ++i) {
      const double u = upper[i], l = lower[i];
      upper[i] = c * u + s * l;
      lower[i] = c * l - s * u;
    }
  }
}

}  // namespace

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix out(a.n);
  launch("product", a.n, [&](std::int64_t i) {
    for (std::int64_t k = 0; k < a.n; ++k) add_scaled(out.row(i), b.row(k), a.row(i)[k], a.n);
  });
  return out;
}

Matrix transposed(const Matrix& a) {
  Matrix out(a.n);
  for (std::int64_t i = 0; i < a.n; ++i)
    for (std::int64_t j = 0; j < a.n; ++j) out.row(j)[i] = a.row(i)[j];
  return out;
}

Eigen symmetric_eigen(Matrix a, bool vectors) {
  for (const double value : a.values)
    TILLER_CHECK(std::isfinite(value), "a matrix with {} has no eigenvalues", value);
  for (std::int64_t i = 0; i < a.n; ++i)
    for (std::int64_t j = 0; j < i; ++j) a.row(i)[j] = a.row(j)[i];
  Tridiagonal t = tridiagonalise(a, vectors);
  std::vector<double>&d = t.diagonal, &e = t.beside;
  double largest = 0;
  for (const double value : d) largest = std::max(largest, std::abs(value));
  for (const double value : e) largest = std::max(largest, std::abs(value));
  // Against the largest number, not the neighbours: what is lost there is lost already.
  const double negligible = std::numeric_limits<double>::epsilon() * largest;
  for (std::size_t last = d.empty() ? 0 : d.size() - 1; last > 0;) {
    std::size_t first = last;
    while (first > 0 && std::abs(e[first - 1]) > negligible) --first;
    if (first == last)
      --last;
    else
      chase_bulge(t, first, last);
  }
  return {std::move(t.diagonal), std::move(t.rows)};
}

Matrix symmetric_sqrt(const Matrix& a) {
  const Eigen eigen = symmetric_eigen(a, true);
  Matrix scaled = eigen.vectors;  // row i: values[i]^(1/2) v_i
  for (std::int64_t i = 0; i < a.n; ++i) {
    const double root = std::sqrt(std::max(0.0, eigen.values[static_cast<std::size_t>(i)]));
    for (std::int64_t j = 0; j < a.n; ++j) scaled.row(i)[j] *= root;
  }
  return product(transposed(eigen.vectors), scaled);
}

}  // namespace tiller::quality
