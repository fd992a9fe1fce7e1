#include "kernels/conv2d/winograd_transforms.h"

namespace tiller {

// Points p of the polynomial g0 + g1 p + g2 p^2, each divided by the product of its distances from the
// others, which is what makes the interpolation exact.
void winograd_weight(const float* from, float* to) {
  constexpr double a2 = 0.75 * 0.75, b2 = 1.5 * 1.5;
  constexpr double at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));
  constexpr double g[6][3] = {{1 / (a2 * b2), 0, 0},           {at_a, 0.75 * at_a, a2 * at_a},
                              {at_a, -0.75 * at_a, a2 * at_a}, {at_b, 1.5 * at_b, b2 * at_b},
                              {at_b, -1.5 * at_b, b2 * at_b},  {0, 0, 1}};
  double half[6][3] = {};
  for (int i = 0; i < 6; ++i)
    for (int r = 0; r < 3; ++r)
      for (int s = 0; s < 3; ++s) half[i][s] += g[i][r] * static_cast<double>(from[3 * r + s]);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) {
      double sum = 0;
      for (int s = 0; s < 3; ++s) sum += half[i][s] * g[j][s];
      to[6 * i + j] = static_cast<float>(sum);
    }
}

}  // namespace tiller
