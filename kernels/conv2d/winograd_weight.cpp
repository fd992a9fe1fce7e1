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
