#pragma once
// Which weights meet which pixels. Stride and up-sampling split an axis into phases: output pixels
// of the same residue see the same taps. So every convolution, forward or transposed, is a few
// plain ones:
//
//   out[step * a + e] = sum over taps t of phase e:
//                         in[stride * a + t.offset] * (sum of w over t.taps)
//
// A 3-tap convolution over a 2x up-sampled image has two phases of two taps each (one of them the
// sum of two weights): in two dimensions 16 products instead of 36.
#include <vector>

#include "kernels/conv2d/conv2d.h"

namespace tiller {

struct AxisTap {
  std::int64_t offset;             ///< where the input is read
  std::vector<std::int64_t> taps;  ///< which weights are summed for it
};
using AxisPhase = std::vector<AxisTap>;

struct Axis {
  std::int64_t step;              ///< of the output
  std::int64_t stride;            ///< of the input
  std::vector<AxisPhase> phases;  ///< `step` of them
};

/// The axis of the forward: from x (before up-sampling) to y.
Axis forward_axis(std::int64_t taps, const ConvGeometry& geometry);
/// The axis of the input gradient: from dy to dx (before up-sampling).
Axis dgrad_axis(std::int64_t taps, const ConvGeometry& geometry);

}  // namespace tiller
