#include "tools/quality/neighbours.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/parallel.h"

namespace tiller::quality {

namespace {

/// Vectors on the host: [n,f].
struct Vectors {
  explicit Vectors(const Tensor& features)
      : n(features.dim(0)), f(features.dim(1)), values(features.to_vector<float>()) {}
  const float* at(std::int64_t i) const { return values.data() + i * f; }
  std::int64_t n, f;
  std::vector<float> values;
};

// By differences, not by |a|^2 + |b|^2 - 2 ab, which cancels where neighbours are close.
float squared_distance(const float* a, const float* b, std::int64_t n) {
  constexpr std::int64_t kLanes = 16;  // sums side by side, so that the loop is vectorised
  float sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t k = 0; k < kLanes; ++k) {
      const float difference = a[i + k] - b[i + k];
      sums[k] += difference * difference;
    }
  for (; i < n; ++i) sums[0] += (a[i] - b[i]) * (a[i] - b[i]);
  float sum = 0;
  for (const float part : sums) sum += part;
  return sum;
}

// The squared distance of each vector to its k-th nearest other one.
std::vector<float> radii(const Vectors& vectors, std::int64_t k) {
  std::vector<float> out(static_cast<std::size_t>(vectors.n));
  launch("radii", vectors.n, [&](std::int64_t i) {
    std::vector<float> distances;
    distances.reserve(static_cast<std::size_t>(vectors.n - 1));
    for (std::int64_t j = 0; j < vectors.n; ++j)
      if (j != i) distances.push_back(squared_distance(vectors.at(i), vectors.at(j), vectors.f));
    std::nth_element(distances.begin(), distances.begin() + (k - 1), distances.end());
    out[static_cast<std::size_t>(i)] = distances[static_cast<std::size_t>(k - 1)];
  });
  return out;
}

// The share of `vectors` within the radius of one of `centres`.
double share_among(const Vectors& vectors, const Vectors& centres,
                   const std::vector<float>& radius) {
  std::vector<char> inside(static_cast<std::size_t>(vectors.n));
  launch("share_among", vectors.n, [&](std::int64_t i) {
    for (std::int64_t j = 0; j < centres.n && inside[static_cast<std::size_t>(i)] == 0; ++j)
      inside[static_cast<std::size_t>(i)] =
          squared_distance(vectors.at(i), centres.at(j), vectors.f) <=
                  radius[static_cast<std::size_t>(j)]
              ? 1
              : 0;
  });
  return static_cast<double>(std::count(inside.begin(), inside.end(), 1)) /
         static_cast<double>(vectors.n);
}

}  // namespace

PrecisionRecall precision_recall(const Tensor& real, const Tensor& samples, std::int64_t k) {
  TILLER_CHECK(k >= 1 && real.dim(0) > k && samples.dim(0) > k,
               "{} real vectors and {} samples: each needs more than {} for its {} nearest "
               "neighbours",
               real.dim(0), samples.dim(0), k, k);
  TILLER_CHECK(real.dim(1) == samples.dim(1), "features of {} and of {} numbers cannot be compared",
               real.dim(1), samples.dim(1));
  const Vectors r(real), s(samples);
  return {share_among(s, r, radii(r, k)), share_among(r, s, radii(s, k))};
}

double spread_within(const Tensor& features, const std::vector<std::int64_t>& labels) {
  const Vectors vectors(features);
  TILLER_CHECK(vectors.n == static_cast<std::int64_t>(labels.size()),
               "{} labels for {} vectors of features", labels.size(), vectors.n);
  std::vector<double> sums(labels.size());
  std::vector<std::int64_t> pairs(labels.size());
  launch("spread_within", vectors.n, [&](std::int64_t i) {
    const auto a = static_cast<std::size_t>(i);
    for (std::int64_t j = 0; j < i; ++j) {
      if (labels[static_cast<std::size_t>(j)] != labels[a]) continue;
      sums[a] +=
          std::sqrt(static_cast<double>(squared_distance(vectors.at(i), vectors.at(j), vectors.f)));
      ++pairs[a];
    }
  });
  double sum = 0;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sum += sums[i];
    count += pairs[i];
  }
  return count > 0 ? sum / static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace tiller::quality
