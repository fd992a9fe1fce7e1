#include "kernels/conv2d/winograd_transforms.h"

namespace tiller {

namespace {

constexpr double kA2 = 0.75 * 0.75, kB2 = 1.5 * 1.5;
// A row of G evaluates g0 + g1 p + g2 p^2 at a point p, divided by the product of the point's
// distances from the others, which is what makes the interpolation exact.
constexpr double kAt0 = 1 / (kA2 * kB2);
constexpr double kAtA = 1 / (2 * kA2 * (kA2 - kB2)), kAtB = 1 / (2 * kB2 * (kB2 - kA2));
constexpr double kC2 = 0.5 * 0.5, kD2 = 1.25 * 1.25;  // of 2 taps
constexpr double kAtC = 1 / (2 * 0.5 * (kC2 - kD2)), kAtD = 1 / (2 * 1.25 * (kD2 - kC2));
constexpr int kF = kWinogradFilters;

typedef double Filters __attribute__((vector_size(kF * sizeof(double))));

// g = G^T t.
inline void gradient_map(const Filters (&t)[6], Filters (&g)[3]) {
  const Filters sum_a = t[1] + t[2], sum_b = t[3] + t[4];
  g[0] = kAt0 * t[0] + kAtA * sum_a + kAtB * sum_b;
  g[1] = (0.75 * kAtA) * (t[1] - t[2]) + (1.5 * kAtB) * (t[3] - t[4]);
  g[2] = (kA2 * kAtA) * sum_a + (kB2 * kAtB) * sum_b + t[5];
}

inline void gradient_map(const Filters (&t)[5], Filters (&g)[2]) {
  g[0] = kAtC * (t[0] - t[1]) + kAtD * (t[2] - t[3]);
  g[1] = (0.5 * kAtC) * (t[0] + t[1]) + (1.25 * kAtD) * (t[2] + t[3]) + t[4];
}

void widen(const float (&values)[kF], Filters& wide) {
  for (int f = 0; f < kF; ++f) wide[f] = static_cast<double>(values[f]);
}

void narrow(const Filters& wide, float (&values)[kF]) {
  for (int f = 0; f < kF; ++f) values[f] = static_cast<float>(wide[f]);
}

template <int kTaps>
void gradients(const float (&products)[36][kF], float (&taps)[9][kF]) {
  constexpr int kPatch = kWinogradTile + kTaps - 1;
  Filters half[kPatch][kTaps];  // rows mapped: [across][down]
  for (int j = 0; j < kPatch; ++j) {
    Filters column[kPatch];
    for (int i = 0; i < kPatch; ++i) widen(products[kPatch * i + j], column[i]);
    gradient_map(column, half[j]);
  }
  for (int r = 0; r < kTaps; ++r) {
    Filters row[kPatch], taps_of_row[kTaps];
    for (int j = 0; j < kPatch; ++j) row[j] = half[j][r];
    gradient_map(row, taps_of_row);
    for (int s = 0; s < kTaps; ++s) narrow(taps_of_row[s], taps[kTaps * r + s]);
  }
}

}  // namespace

void winograd_weight_gradients(int count, const float (&products)[36][kF], float (&taps)[9][kF]) {
  if (count == 3)
    gradients<3>(products, taps);
  else
    gradients<2>(products, taps);
}

}  // namespace tiller
