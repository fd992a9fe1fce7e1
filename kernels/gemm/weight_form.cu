// Forms of a weight for the tensor-core GEMM, and activations padded to whole vectors.
//
// math      forward: to[k,r,s,c] = from[k,r,s,c], rounded. phase: to[c,i,j,k] =
//           from[k, r0 + stride (rows-1-i), s0 + stride (columns-1-j), c], what a pixel of one
//           residue reads of dy: the data gradient is a forward on these, and stride 1 has one
//           residue. up2x: to[c,i,j,k] = the sum over the copies a, b in {0, 1} of
//           from[k, R-1-i+a, S-1-j+b, c], the terms that exist: each pixel was read as four copies,
//           and copies that meet the same dy share a tap, so 4 K R S terms become K (R+1) (S+1).
//           Sums in f32, rounded once
// shapes    [K,R,S,C]; the last dimension of the result padded with zeros
// mapping   a thread per element of the result
// traffic   the weight read and written once (up2x: read four times); transposed forms read with a
//           stride, and run once per weight
// roofline  memory
// delta     the first row
// limits    no f64
#include "kernels/gemm/mma.h"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__device__ __forceinline__ float stored_tap(const WeightParams& p, int k, int r, int s, int c) {
  if (r < 0 || r >= p.r || s < 0 || s >= p.s) return 0.0f;
  return load_at(p.from, ((std::int64_t{k} * p.r + r) * p.s + s) * p.c + c);
}

__global__ void __launch_bounds__(kThreads, 2)
    weight_form_kernel(const WeightParams __grid_constant__ p) {
  const std::int64_t count = p.to.rows * p.to.cols;
  for (std::int64_t at = first_element(); at < count; at += next_element()) {
    const std::int64_t rest = at / p.padded, line = rest / p.columns;
    const int inner = static_cast<int>(at - rest * p.padded);
    const int j = static_cast<int>(rest - line * p.columns), i = static_cast<int>(line % p.rows);
    const int outer = static_cast<int>(line / p.rows);
    float value = 0.0f;
    if (p.form == WeightForm::forward) {
      if (inner < p.c) value = stored_tap(p, outer, i, j, inner);
    } else if (inner < p.k && p.form == WeightForm::phase) {
      value = stored_tap(p, inner, p.phase_r + p.stride * (p.rows - 1 - i),
                         p.phase_s + p.stride * (p.columns - 1 - j), outer);
    } else if (inner < p.k) {
      for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b)
          value += stored_tap(p, inner, p.r - 1 - i + a, p.s - 1 - j + b, outer);
    }
    store_at(p.to, at, value);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    pad_channels_kernel(const PadParams __grid_constant__ p) {
  const std::int64_t count = numel(p.to);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t row = i / p.to.cols, c = i - row * p.to.cols;
    float value = 0.0f;
    if (c < p.x0.cols)
      value = load(p.x0, row, c);
    else if (c - p.x0.cols < p.x1.cols)
      value = load(p.x1, row, c - p.x0.cols);
    store_at(p.to, i, value);
  }
}

}  // namespace

void weight_form(const WeightParams& p, Stream stream) {
  launch({"weight_form", blocks_for(p.to.rows * p.to.cols), kThreads}, stream, weight_form_kernel,
         p);
}

void pad_channels(const PadParams& p, Stream stream) {
  launch({"pad_channels", blocks_for(p.to.rows * p.to.cols), kThreads}, stream, pad_channels_kernel,
         p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
