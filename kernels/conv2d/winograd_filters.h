#pragma once
// The weights of a Winograd convolution on their way to its products: G g G^T of 3x3 taps, or of the
// 2x2 that a phase makes of them.
#include <algorithm>

#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_problem.h"
#include "kernels/gemm/finish.h"
#include "kernels/gemm/fresh.h"
#include "runtime/parallel.h"

namespace tiller {

// The 2x2 taps of a phase from `count` filters' 3x3.
inline void phase_taps(const float* nine, std::int64_t count, std::int64_t phase, float* four) {
  std::fill_n(four, 4 * count, 0.0f);
  for (std::int64_t tap = 0; tap < 9; ++tap) {
    const float* const from = nine + tap * count;
    float* const to = four + phase_tap(phase, tap) * count;
    for (std::int64_t f = 0; f < count; ++f) to[f] += from[f];
  }
}

// G g G^T of one panel's channels [begin, begin + length): products `stride` floats apart, each
// [length rounded up to whole strips][columns]. A strip's taps at a time, which stay in the L1 cache.
// Zeros for channels that only fill the last strip.
template <class Isa>
void transform_weights(const WinogradProblem& p, std::size_t phase, const RawWeight& w,
                       std::int64_t panel, std::int64_t begin, std::int64_t length, float* to,
                       std::int64_t stride) {
  alignas(64) float nine[9 * kStripElements * kMaxPanelColumns];
  alignas(64) float four[4 * kStripElements * kMaxPanelColumns];
  const WinogradTransforms& transforms = winograd_transforms<Isa>(p.taps);
  const std::int64_t width = Isa::kernels().columns, channels = p.source_channels();
  const UnpackKernel unpack = Isa::kernels().unpack.of(p.transposed, false);
  for (std::int64_t at = begin; at < begin + length; at += kStripElements) {
    const std::int64_t first = at % channels,
                       used = std::min<std::int64_t>(kStripElements, channels - first);
    float* const strip = to + (at - begin) * width;
    unpack(w, panel * width, first, first + used, nine);
    if (p.taps == 2)
      phase_taps(nine, used * width, p.summed() ? at / channels : static_cast<std::int64_t>(phase),
                 four);
    transforms.weight(p.taps == 2 ? four : nine, used * width, p.transposed, used * width, strip,
                      stride);
    for (std::int64_t e = 0; e < transforms.products(); ++e)
      std::fill(strip + e * stride + used * width, strip + e * stride + kStripElements * width,
                0.0f);
  }
}

// Floats of a phase's transformed weight [panels][products][padded channels][columns].
template <class Isa>
std::int64_t transformed_floats(const WinogradProblem& p) {
  const std::int64_t columns = Isa::kernels().columns;
  const std::int64_t panels = (p.columns() + columns - 1) / columns;
  return panels * winograd_transforms<Isa>(p.taps).products() * p.padded_channels() * columns;
}

// All of it, with zeros beyond the channels and columns.
template <class Isa>
void transform_all(const WinogradProblem& p, std::size_t phase, float* to) {
  const std::int64_t columns = Isa::kernels().columns;
  const std::int64_t panels = (p.columns() + columns - 1) / columns;
  const std::int64_t strips = p.padded_channels() / kStripElements;
  const std::int64_t product_floats = p.padded_channels() * columns;
  const std::int64_t panel_floats = winograd_transforms<Isa>(p.taps).products() * product_floats;
  const RawWeight raw = raw_weight(p.w);
  launch("winograd_weight", panels * strips, [&](std::int64_t task) {
    const std::int64_t panel = task / strips, first = task % strips * kStripElements;
    transform_weights<Isa>(p, phase, raw, panel, first, kStripElements,
                           to + panel * panel_floats + first * columns, product_floats);
  });
}

// The same, kept with the weight.
template <class Isa>
Tensor transformed(const WinogradProblem& p, std::size_t phase) {
  const std::string key = fmt::format("winograd {} taps {} {}{}", p.taps, phase,
                                      p.transposed ? "transposed " : "", Isa::kernels().columns);
  return derived(p.w, key.c_str(), [&] {
    Tensor out = Tensor::empty({transformed_floats<Isa>(p)});
    transform_all<Isa>(p, phase, out.data<float>());
    return out;
  });
}

}  // namespace tiller
