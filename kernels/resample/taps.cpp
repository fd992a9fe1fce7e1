#include "kernels/resample/taps.h"

#include <algorithm>
#include <cmath>

namespace tiller {

namespace {

// Pixel centres of a grid of `out` cells laid over `in` cells (align_corners=False); beyond the
// outer centres the edge is repeated.
std::vector<Tap> bilinear_taps(std::int64_t in, std::int64_t out, std::int64_t p) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double at = std::max(0.0, (static_cast<double>(p) + 0.5) * scale - 0.5);
  const auto low = std::min(static_cast<std::int64_t>(at), in - 1);
  const double high_weight = low + 1 < in ? at - static_cast<double>(low) : 0;
  if (high_weight == 0) return {{low, 1.0}};
  return {{low, 1 - high_weight}, {low + 1, high_weight}};
}

}  // namespace

Axis forward_axis(ResampleKind kind, std::int64_t in, std::int64_t out) {
  Axis axis;
  axis.mean = kind == ResampleKind::mean_pool2x2 || kind == ResampleKind::area;
  axis.taps.resize(static_cast<std::size_t>(out));
  for (std::int64_t p = 0; p < out; ++p) {
    std::vector<Tap>& taps = axis.taps[static_cast<std::size_t>(p)];
    switch (kind) {
      case ResampleKind::nearest_up2x:
        taps = {{p / 2, 1.0}};
        break;
      case ResampleKind::mean_pool2x2:
        taps = {{2 * p, 1.0}, {2 * p + 1, 1.0}};
        break;
      case ResampleKind::bilinear:
        taps = bilinear_taps(in, out, p);
        break;
      case ResampleKind::area:  // every cell that the output cell touches
        for (std::int64_t h = p * in / out; h < ((p + 1) * in + out - 1) / out; ++h)
          taps.push_back({h, 1.0});
        break;
    }
  }
  return axis;
}

Axis backward_axis(ResampleKind kind, std::int64_t in, std::int64_t out) {
  const Axis forward = forward_axis(kind, in, out);
  Axis axis;
  axis.taps.resize(static_cast<std::size_t>(in));
  for (std::int64_t p = 0; p < out; ++p) {
    const std::vector<Tap>& taps = forward.taps[static_cast<std::size_t>(p)];
    const double divisor = forward.mean ? static_cast<double>(taps.size()) : 1;
    for (const Tap& tap : taps)
      axis.taps[static_cast<std::size_t>(tap.index)].push_back({p, tap.weight / divisor});
  }
  return axis;
}

}  // namespace tiller
