// The mathematics of `tiller quality`: eigenvalues, Frechet distance, neighbours.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/runtime/files_util.h"
#include "tools/quality/frechet.h"
#include "tools/quality/measure.h"
#include "tools/quality/neighbours.h"

namespace tiller::quality {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Matrix random_symmetric(std::int64_t n, std::uint32_t seed) {
  std::mt19937 bits(seed);
  std::normal_distribution<double> normal;
  Matrix a(n);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = i; j < n; ++j) a.row(i)[j] = a.row(j)[i] = normal(bits);
  return a;
}

double largest_difference(const Matrix& a, const Matrix& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i)
    most = std::max(most, std::abs(a.values[i] - b.values[i]));
  return most;
}

TEST(Eigen, PutsAnyMatrixTogetherAgain) {
  for (const std::int64_t n : {1, 2, 3, 7, 40}) {
    const Matrix a = random_symmetric(n, static_cast<std::uint32_t>(n));
    const Eigen eigen = symmetric_eigen(a, true);
    Matrix scaled = eigen.vectors;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        scaled.row(i)[j] *= eigen.values[static_cast<std::size_t>(i)];
    EXPECT_LT(largest_difference(product(transposed(eigen.vectors), scaled), a), 1e-12) << n;
    Matrix one(n);
    for (std::int64_t i = 0; i < n; ++i) one.row(i)[i] = 1;
    EXPECT_LT(largest_difference(product(eigen.vectors, transposed(eigen.vectors)), one), 1e-13);
    std::vector<double> alone = symmetric_eigen(a, false).values, with = eigen.values;
    std::sort(alone.begin(), alone.end());
    std::sort(with.begin(), with.end());
    EXPECT_EQ(alone, with);
  }
}

// The path graph's Laplacian has the eigenvalues 2 - 2 cos(pi k / n).
TEST(Eigen, KnowsTheEigenvaluesOfAChain) {
  constexpr std::int64_t kN = 30;
  Matrix a(kN);
  for (std::int64_t i = 0; i < kN; ++i) {
    a.row(i)[i] = i == 0 || i == kN - 1 ? 1 : 2;
    if (i + 1 < kN) a.row(i)[i + 1] = a.row(i + 1)[i] = -1;
  }
  std::vector<double> values = symmetric_eigen(a, false).values;
  std::sort(values.begin(), values.end());
  for (std::size_t k = 0; k < values.size(); ++k)
    EXPECT_NEAR(values[k], 2 - 2 * std::cos(M_PI * static_cast<double>(k) / kN), 1e-13);
}

TEST(Eigen, TakesDiagonalEqualAndZeroMatrices) {
  Matrix diagonal(3);
  diagonal.row(0)[0] = 4;
  diagonal.row(1)[1] = -1;
  diagonal.row(2)[2] = 4;
  EXPECT_THAT(symmetric_eigen(diagonal, true).values, ElementsAre(4, -1, 4));
  EXPECT_THAT(symmetric_eigen(Matrix(2), true).values, ElementsAre(0, 0));
  EXPECT_THAT(symmetric_eigen(Matrix(0), true).values, IsEmpty());
  Matrix all_ones(5);  // rank 1: four eigenvalues are equal
  std::fill(all_ones.values.begin(), all_ones.values.end(), 1);
  std::vector<double> values = symmetric_eigen(all_ones, false).values;
  std::sort(values.begin(), values.end());
  EXPECT_NEAR(values[3], 0, 1e-14);
  EXPECT_NEAR(values[4], 5, 1e-14);
  diagonal.row(0)[1] = NAN;
  EXPECT_THAT(error_of([&] { symmetric_eigen(diagonal, false); }), HasSubstr("no eigenvalues"));
}

TEST(Eigen, TheRootTimesItselfIsTheMatrix) {
  const Matrix half = random_symmetric(20, 4);
  const Matrix a = product(half, half);  // no negative eigenvalues
  const Matrix root = symmetric_sqrt(a);
  EXPECT_LT(largest_difference(product(root, root), a), 1e-11);
  EXPECT_LT(largest_difference(root, transposed(root)), 1e-12);
}

Gaussian gaussian(std::vector<double> mean, const std::vector<double>& variances) {
  Gaussian g{std::move(mean), Matrix(static_cast<std::int64_t>(variances.size()))};
  for (std::size_t i = 0; i < variances.size(); ++i)
    g.covariance.row(static_cast<std::int64_t>(i))[i] = variances[i];
  return g;
}

// With diagonal covariances: |mu_a - mu_b|^2 + sum of (sigma_a - sigma_b)^2.
TEST(Frechet, OfDiagonalCovariances) {
  const Gaussian a = gaussian({1, 2, 3}, {4, 9, 0}), b = gaussian({1, 0, 3}, {1, 25, 4});
  EXPECT_NEAR(frechet_distance(a, b), 4 + 1 + 4 + 4, 1e-12);
  EXPECT_NEAR(frechet_distance(b, a), 13, 1e-12);
}

// Two dimensions, where tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)): covariances that do not
// commute.
TEST(Frechet, OfCovariancesThatDoNotCommute) {
  Gaussian a = gaussian({0, 0}, {2, 1}), b = gaussian({0, 0}, {1, 3});
  a.covariance.row(0)[1] = a.covariance.row(1)[0] = 0.5;
  b.covariance.row(0)[1] = b.covariance.row(1)[0] = -1;
  const double trace = 2 * 1 + 2 * 0.5 * -1 + 1 * 3;
  const double determinant = (2 * 1 - 0.25) * (1 * 3 - 1);
  EXPECT_NEAR(frechet_distance(a, b), 3 + 4 - 2 * std::sqrt(trace + 2 * std::sqrt(determinant)),
              1e-12);
}

Tensor random_features(std::int64_t n, std::int64_t f, std::uint32_t seed) {
  std::mt19937 bits(seed);
  std::normal_distribution<float> normal;
  Tensor out = Tensor::empty({n, f});
  for (std::int64_t i = 0; i < n * f; ++i) out.data<float>()[i] = normal(bits);
  return out;
}

TEST(Frechet, OfASetAndItselfIsZeroAndAShiftCountsSquared) {
  for (const std::int64_t n : {200, 10}) {  // also with fewer vectors than numbers
    const Tensor a = random_features(n, 24, 1);
    Tensor moved = a.clone();
    for (std::int64_t i = 0; i < n; ++i) {
      moved.data<float>()[i * 24] += 3;
      moved.data<float>()[i * 24 + 7] -= 4;
    }
    const Gaussian fit = fit_gaussian(a);
    EXPECT_NEAR(frechet_distance(fit, fit), 0, 1e-6);
    EXPECT_NEAR(frechet_distance(fit, fit_gaussian(moved)), 25, 1e-4);
  }
}

TEST(Frechet, FitsMeanAndCovariance) {
  const Gaussian g = fit_gaussian(Tensor::from(std::vector<float>{0, 1, 2, 5, 4, 3}, {3, 2}));
  EXPECT_THAT(g.mean, ElementsAre(2, 3));
  EXPECT_THAT(g.covariance.values, ElementsAre(4, 2, 2, 4));
  EXPECT_THAT(error_of([] { fit_gaussian(Tensor::zeros({1, 2})); }), HasSubstr("two vectors"));
  EXPECT_THAT(error_of([&] { frechet_distance(g, gaussian({0}, {1})); }),
              HasSubstr("features of 2 and of 1"));
}

// On a line: real pictures at 0, 1, 2, 10 with radii 1, 1, 1, 8 (k = 1), samples at 3 and 30 with
// radius 27.
TEST(Neighbours, PrecisionAndRecallOnALine) {
  const Tensor real = Tensor::from(std::vector<float>{0, 1, 2, 10}, {4, 1});
  const Tensor samples = Tensor::from(std::vector<float>{3, 30}, {2, 1});
  const PrecisionRecall one = precision_recall(real, samples, 1);
  EXPECT_EQ(one.precision, 0.5);
  EXPECT_EQ(one.recall, 1);
  const PrecisionRecall turned = precision_recall(samples, real, 1);
  EXPECT_EQ(turned.precision, 1);
  EXPECT_EQ(turned.recall, 0.5);
  const Tensor far = Tensor::from(std::vector<float>{-4, -4.5f, -4.25f}, {3, 1});
  EXPECT_EQ(precision_recall(real, far, 1).precision, 0);  // 4 from the 0, whose radius is 1
  EXPECT_EQ(precision_recall(real, far, 1).recall, 0);
  EXPECT_EQ(precision_recall(real, far, 2).precision, 0);
  EXPECT_EQ(
      precision_recall(real, Tensor::from(std::vector<float>{-2, -1.5f, 7}, {3, 1}), 2).precision,
      1);  // the second neighbour of 0 is 2 away
  EXPECT_THAT(error_of([&] { precision_recall(real, samples, 2); }), HasSubstr("more than 2"));
}

// Fewer kinds of samples: precision stays, recall falls.
TEST(Neighbours, RecallSeesWhatIsMissing) {
  const Tensor real = random_features(120, 20, 1);
  const Tensor same = random_features(120, 20, 2);
  Tensor half = same.clone();
  for (std::int64_t i = 0; i < 120; ++i) half.data<float>()[i * 20] = 0.1f;
  const PrecisionRecall all = precision_recall(real, same, 3);
  const PrecisionRecall some = precision_recall(real, half, 3);
  EXPECT_GT(all.recall, some.recall + 0.05);
  EXPECT_GE(some.precision, all.precision - 0.05);
}

TEST(Neighbours, SpreadIsTheMeanOverPairsOfALabel) {
  const Tensor x = Tensor::from(std::vector<float>{0, 0, 3, 4, 0, 1, 9, 9}, {4, 2});
  EXPECT_DOUBLE_EQ(spread_within(x, {0, 0, 1, 1}), (5 + std::sqrt(81.0 + 64)) / 2);
  EXPECT_NEAR(spread_within(x, {0, 0, 0, 1}), (5 + 1 + std::sqrt(9.0 + 9)) / 3, 1e-6);
  EXPECT_TRUE(std::isnan(spread_within(x, {0, 1, 2, 3})));
}

TEST(Measure, PlacesAreSpreadEvenly) {
  EXPECT_THAT(even_places(10, 4), ElementsAre(0, 2, 5, 7));
  EXPECT_THAT(even_places(3, 9), ElementsAre(0, 1, 2));
}

// Samples that are the real pictures themselves.
TEST(Measure, TheRealPicturesThemselvesArePerfect) {
  const Tensor features = random_features(60, 6, 3);
  std::vector<std::int64_t> labels = labels_in_turn(60, 3), seen = labels;
  for (std::size_t i = 0; i < 15; ++i) seen[i] = 7;
  const Reference real = make_reference(features, labels);
  const Measurement row = measure(real, {features, seen}, labels, 3);
  EXPECT_EQ(row.count, 60);
  EXPECT_NEAR(row.frechet, 0, 1e-6);
  EXPECT_EQ(row.accuracy, 0.75);
  EXPECT_EQ(row.precision, 1);
  EXPECT_EQ(row.recall, 1);
  EXPECT_EQ(row.spread, 1);
  // Both halves come of one distribution, but are not the same.
  const auto halves = measure_real({features, seen}, labels, 20, 3);
  ASSERT_EQ(halves.size(), 1u);
  EXPECT_EQ(halves[0].count, 20);
  EXPECT_GT(halves[0].frechet, 0.1);
  EXPECT_NEAR(halves[0].spread, 1, 0.3);
  EXPECT_TRUE(std::isnan(measure(make_reference(features, {}), {features, seen}, {}, 3).accuracy));
  EXPECT_THAT(measure_real({random_features(6, 2, 1), {}}, {}, 9, 3), IsEmpty());
}

}  // namespace
}  // namespace tiller::quality
