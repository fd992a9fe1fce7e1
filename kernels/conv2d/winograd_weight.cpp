#include "kernels/conv2d/winograd_transforms.h"

namespace tiller {

namespace {

constexpr double kA2 = 0.75 * 0.75, kB2 = 1.5 * 1.5;
constexpr double kAtA = 1 / (2 * kA2 * (kA2 - kB2)), kAtB = 1 / (2 * kB2 * (kB2 - kA2));
// Each row evaluates g0 + g1 p + g2 p^2 at a point p, divided by the product of the point's
// distances from the others, which is what makes the interpolation exact.
constexpr double kG[6][3] = {{1 / (kA2 * kB2), 0, 0},         {kAtA, 0.75 * kAtA, kA2* kAtA},
                             {kAtA, -0.75 * kAtA, kA2* kAtA}, {kAtB, 1.5 * kAtB, kB2* kAtB},
                             {kAtB, -1.5 * kAtB, kB2* kAtB},  {0, 0, 1}};
constexpr int kF = kWinogradFilters;

}  // namespace

void winograd_weights(const float (&taps)[9][kF], float (&products)[36][kF]) {
  double half[6][3][kF];
  for (int i = 0; i < 6; ++i)
    for (int s = 0; s < 3; ++s)
      for (int f = 0; f < kF; ++f)
        half[i][s][f] = kG[i][0] * static_cast<double>(taps[s][f]) +
                        kG[i][1] * static_cast<double>(taps[3 + s][f]) +
                        kG[i][2] * static_cast<double>(taps[6 + s][f]);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j)
      for (int f = 0; f < kF; ++f)
        products[6 * i + j][f] = static_cast<float>(
            half[i][0][f] * kG[j][0] + half[i][1][f] * kG[j][1] + half[i][2][f] * kG[j][2]);
}

}  // namespace tiller
