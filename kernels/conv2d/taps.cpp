#include "kernels/conv2d/taps.h"

#include <numeric>

namespace tiller {

namespace {

void add_tap(AxisPhase& phase, std::int64_t offset, std::int64_t tap) {
  for (AxisTap& known : phase)
    if (known.offset == offset) return known.taps.push_back(tap);
  phase.push_back({offset, {tap}});
}

}  // namespace

Axis forward_axis(std::int64_t taps, const ConvGeometry& geometry) {
  const std::int64_t stride = geometry.stride;
  if (!geometry.up2x) {
    Axis axis{1, stride, {{}}};
    for (std::int64_t r = 0; r < taps; ++r) add_tap(axis.phases[0], r - geometry.pad, r);
    return axis;
  }
  // y[p] reads row floor((p stride + r - pad) / 2): with an even stride the same for every p.
  Axis axis{stride % 2 == 0 ? 1 : 2, stride % 2 == 0 ? stride / 2 : stride, {}};
  for (std::int64_t e = 0; e < axis.step; ++e) {
    AxisPhase& phase = axis.phases.emplace_back();
    for (std::int64_t r = 0; r < taps; ++r)
      add_tap(phase, (e * stride + r - geometry.pad) >> 1, r);  // >> rounds down
  }
  return axis;
}

Axis dgrad_axis(std::int64_t taps, const ConvGeometry& geometry) {
  const std::int64_t stride = geometry.stride, copies = geometry.up2x ? 2 : 1;
  // Copy i of input row h met tap r of output row p when p stride = copies h + i + pad - r.
  const std::int64_t step = stride / std::gcd(copies, stride);
  Axis axis{step, copies * step / stride, {}};
  for (std::int64_t e = 0; e < step; ++e) {
    AxisPhase& phase = axis.phases.emplace_back();
    for (std::int64_t i = 0; i < copies; ++i)
      for (std::int64_t r = 0; r < taps; ++r) {
        const std::int64_t at = copies * e + i + geometry.pad - r;
        if (at % stride == 0) add_tap(phase, at / stride, r);
      }
  }
  return axis;
}

}  // namespace tiller
