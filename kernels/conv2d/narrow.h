#pragma once
// Rows v9_narrow and v10_narrow_avx512: 3x3 convolutions with so few outputs that all nine taps of them
// fit one panel of the micro-kernel's columns: a UNet's last one, which makes a picture's three
// channels, and a classifier's first one backwards, which makes its gradient. The direct rows would
// fill three columns of sixteen.
//
//   z[pixel][tap, k] = sum over c: x[pixel][c] w[k][tap][c]        a product of full columns
//   y[pixel][k]      = bias[k] + sum over taps: z[pixel + tap][tap, k]
//
// (The idea is the "kn2row" of Vasudevan, Anderson & Gregg 2017.) z is made for a band of a picture's
// rows at a time, and stays in the thread's cache. Instantiated for Avx2 and Avx512.
#include "kernels/conv2d/conv2d.h"

namespace tiller {

template <class Isa, class Args>
bool conv2d_narrow_supports(const Args& args);
template <class Isa, class Args>
std::size_t conv2d_narrow_workspace(const Args& args);
template <class Isa, class Args>
void conv2d_narrow_run(const Args& args, void* workspace, Stream stream);

}  // namespace tiller
