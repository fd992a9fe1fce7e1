#include "kernels/conv2d/winograd_transforms.h"

namespace tiller {

namespace {

constexpr double kA2 = 0.75 * 0.75, kB2 = 1.5 * 1.5;
// A row of G evaluates g0 + g1 p + g2 p^2 at a point p, divided by the product of the point's
// distances from the others, which is what makes the interpolation exact.
constexpr double kAt0 = 1 / (kA2 * kB2);
constexpr double kAtA = 1 / (2 * kA2 * (kA2 - kB2)), kAtB = 1 / (2 * kB2 * (kB2 - kA2));
constexpr int kF = kWinogradFilters;

typedef double Filters __attribute__((vector_size(kF * sizeof(double))));

// t = G g. Points of opposite sign share the even and the odd part.
inline void weight_map(const Filters& g0, const Filters& g1, const Filters& g2, Filters (&t)[6]) {
  const Filters even_a = kAtA * g0 + (kA2 * kAtA) * g2, odd_a = (0.75 * kAtA) * g1;
  const Filters even_b = kAtB * g0 + (kB2 * kAtB) * g2, odd_b = (1.5 * kAtB) * g1;
  t[0] = kAt0 * g0;
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = g2;
}

// g = G^T t.
inline void gradient_map(const Filters (&t)[6], Filters (&g)[3]) {
  const Filters sum_a = t[1] + t[2], sum_b = t[3] + t[4];
  g[0] = kAt0 * t[0] + kAtA * sum_a + kAtB * sum_b;
  g[1] = (0.75 * kAtA) * (t[1] - t[2]) + (1.5 * kAtB) * (t[3] - t[4]);
  g[2] = (kA2 * kAtA) * sum_a + (kB2 * kAtB) * sum_b + t[5];
}

void widen(const float (&values)[kF], Filters& wide) {
  for (int f = 0; f < kF; ++f) wide[f] = static_cast<double>(values[f]);
}

void narrow(const Filters& wide, float (&values)[kF]) {
  for (int f = 0; f < kF; ++f) values[f] = static_cast<float>(wide[f]);
}

}  // namespace

void winograd_weights(const float (&taps)[9][kF], float (&products)[36][kF]) {
  Filters half[3][6];  // rows mapped: [across][down]
  for (int s = 0; s < 3; ++s) {
    Filters column[3];
    for (int r = 0; r < 3; ++r) widen(taps[3 * r + s], column[r]);
    weight_map(column[0], column[1], column[2], half[s]);
  }
  for (int i = 0; i < 6; ++i) {
    Filters row[6];
    weight_map(half[0][i], half[1][i], half[2][i], row);
    for (int j = 0; j < 6; ++j) narrow(row[j], products[6 * i + j]);
  }
}

void winograd_weight_gradients(const float (&products)[36][kF], float (&taps)[9][kF]) {
  Filters half[6][3];  // rows mapped: [across][down]
  for (int j = 0; j < 6; ++j) {
    Filters column[6];
    for (int i = 0; i < 6; ++i) widen(products[6 * i + j], column[i]);
    gradient_map(column, half[j]);
  }
  for (int r = 0; r < 3; ++r) {
    Filters row[6], taps_of_row[3];
    for (int j = 0; j < 6; ++j) row[j] = half[j][r];
    gradient_map(row, taps_of_row);
    for (int s = 0; s < 3; ++s) narrow(taps_of_row[s], taps[3 * r + s]);
  }
}

}  // namespace tiller
