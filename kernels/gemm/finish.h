#pragma once
// The last step of a product in f32: what is added to a row of results on their way to memory.
#include <cstdint>

namespace tiller {

constexpr std::int64_t kMaxPanelColumns = 32;  ///< of any instruction set

/// y = values + bias + residual for the columns of one full panel. `residual` may be null. The
/// values keep the result, for statistics.
template <int kWidth>
void finish_row(float* __restrict values, const float* __restrict bias,
                const float* __restrict residual, float* __restrict y) {
  if (!residual) {
    for (int k = 0; k < kWidth; ++k) y[k] = values[k] = values[k] + bias[k];
    return;
  }
  for (int k = 0; k < kWidth; ++k) y[k] = values[k] = values[k] + bias[k] + residual[k];
}

/// As above for a width of 8, 16 or 32.
inline void finish_row(std::int64_t width, float* values, const float* bias, const float* residual,
                       float* y) {
  if (width == 32) return finish_row<32>(values, bias, residual, y);
  if (width == 16) return finish_row<16>(values, bias, residual, y);
  finish_row<8>(values, bias, residual, y);
}

}  // namespace tiller
