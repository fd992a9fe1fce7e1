#pragma once
// Rows v3_winograd and v4_winograd_avx512: F(4x4, 3x3) of kernels/conv2d/winograd_transforms.h, a
// quarter of the direct convolution's multiplications. Forward with every fusion, input and weight
// gradient, with stride 1. Instantiated for Avx2 and Avx512.
//
// Rows v5_winograd_fresh and v6_winograd_fresh_avx512: the same, but nothing is kept with the
// weight. Each task unpacks and transforms its panel's weights (in f32) as it comes to them, 64
// channels at a time, into its own cache: four times the bytes are made where they are used instead
// of fetched from memory. Few weights that many pixels wait for are made once a call instead.
//
// Rows v7_winograd_phases and v8_winograd_phases_avx512: over an up-sampled image, F(4x4, 2x2) for
// each of the four phases of kernels/conv2d/winograd_problem.h: 100 multiplications for 64 outputs,
// where the rows above have 144, and the definition 576.
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/gemm/isa.h"

namespace tiller {

/// The transforms of one instruction set, of 3 or 2 taps.
template <class Isa>
const WinogradTransforms& winograd_transforms(int taps) {
  if constexpr (std::is_same_v<Isa, Avx512>)
    return winograd_transforms_avx512(taps);
  else
    return winograd_transforms_avx2(taps);
}

enum class WinogradForm { kept, fresh, phases };

template <class Isa, WinogradForm kForm, class Args>
bool conv2d_winograd_supports(const Args& args);
template <class Isa, WinogradForm kForm, class Args>
std::size_t conv2d_winograd_workspace(const Args& args);
template <class Isa, WinogradForm kForm, class Args>
void conv2d_winograd_run(const Args& args, void* workspace, Stream stream);

/// Whether it beats the direct rows: the transforms must be paid by enough channels, and the
/// weights, four times as many bytes, must meet enough pixels.
bool winograd_pays(const Conv2dFwdArgs& args);
bool winograd_pays(const Conv2dDgradArgs& args);
/// Whether the phases do, and are supported: of an up-sampled image, where the weights, eleven times
/// as many bytes, are few.
bool winograd_phases_pay(const Conv2dFwdArgs& args);
bool winograd_phases_pay(const Conv2dDgradArgs& args);

/// Of 3 taps, or of 2: in phases.
template <class Isa, int kTaps>
bool conv2d_winograd_wgrad_supports(const Conv2dWgradArgs& args);
template <class Isa, int kTaps>
std::size_t conv2d_winograd_wgrad_workspace(const Conv2dWgradArgs& args);
template <class Isa, int kTaps>
void conv2d_winograd_wgrad_run(const Conv2dWgradArgs& args, void* workspace, Stream stream);
bool winograd_pays(const Conv2dWgradArgs& args);
bool winograd_phases_pay(const Conv2dWgradArgs& args);

}  // namespace tiller
