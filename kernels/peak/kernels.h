#pragma once
// What the peak kernels are launched with.
#include <cstdint>

#include "kernels/peak/kind.h"
#include "runtime/device.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct PeakParams {
  float* sink;  // [blocks*kPeakThreads]
  std::int64_t blocks;
  int rounds;
  float one;                   ///< 1; not a constant, or the compiler would do the sums
  std::uint32_t one_a, one_b;  ///< an operand register full of ones
};
void peak_v1(PeakKind kind, const PeakParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
