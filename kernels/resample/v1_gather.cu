// Resampling, v1_gather: forward and backward.
//
// math      y[p,q] = sum over the taps (h,u) of p and (w,v) of q of u v x[h,w]; the backward is the
//           transpose: dx[h,w] = sum over the outputs that have h and w among their taps
// shapes    x [N,H,W,C], y [N,P,Q,C]; channel slices allowed
// mapping   a thread gathers one output element at a time, neighbouring lanes neighbouring
//           channels; nothing is scattered, so nothing is added atomically and the order is fixed
// traffic   the output once, the input once (its re-reads hit the caches): (NHW + NPQ) C elements
// roofline  memory
// delta     the first row
// limits    no f64; the taps of an output are found anew for each channel
#include "kernels/resample/kernels.h"
#include "kernels/resample/taps.cuh"
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

__global__ void __launch_bounds__(kThreads, 2)
    resample_fwd_kernel(const ResampleParams __grid_constant__ p) {
  const std::int64_t count = numel(p.y);
  const auto h = static_cast<int>(p.h), w = static_cast<int>(p.w);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t pixel = i / p.y.cols, c = i - pixel * p.y.cols;
    const std::int64_t row = pixel / p.q, n = row / p.p;
    const Taps down = taps_of(p.kind, h, static_cast<int>(p.p), static_cast<int>(row - n * p.p));
    const Taps across =
        taps_of(p.kind, w, static_cast<int>(p.q), static_cast<int>(pixel - row * p.q));
    float sum = 0.0f;
    for (int hh = down.first; hh <= down.last; ++hh)
      for (int ww = across.first; ww <= across.last; ++ww)
        sum = fmaf(weight_of(down, hh) * weight_of(across, ww),
                   load(p.x, (n * p.h + hh) * p.w + ww, c), sum);
    store(p.y, pixel, c, sum);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    resample_bwd_kernel(const ResampleParams __grid_constant__ p) {
  const std::int64_t count = numel(p.x);
  const auto h = static_cast<int>(p.h), w = static_cast<int>(p.w);
  const auto height = static_cast<int>(p.p), width = static_cast<int>(p.q);
  for (std::int64_t i = first_element(); i < count; i += next_element()) {
    const std::int64_t pixel = i / p.x.cols, c = i - pixel * p.x.cols;
    const std::int64_t row = pixel / p.w, n = row / p.h;
    const auto hh = static_cast<int>(row - n * p.h), ww = static_cast<int>(pixel - row * p.w);
    int p_first, p_last, q_first, q_last;
    outputs_of(p.kind, h, height, hh, p_first, p_last);
    outputs_of(p.kind, w, width, ww, q_first, q_last);
    float sum = 0.0f;
    for (int pp = p_first; pp <= p_last; ++pp) {
      const float down = weight_of(taps_of(p.kind, h, height, pp), hh);
      if (down == 0.0f) continue;
      for (int qq = q_first; qq <= q_last; ++qq) {
        const float across = weight_of(taps_of(p.kind, w, width, qq), ww);
        if (across != 0.0f) sum = fmaf(down * across, load(p.y, (n * p.p + pp) * p.q + qq, c), sum);
      }
    }
    store(p.x, pixel, c, sum);
  }
}

}  // namespace

void resample_fwd_v1(const ResampleParams& p, Stream stream) {
  launch({"resample_fwd", blocks_for(p.y.rows * p.y.cols), kThreads}, stream, resample_fwd_kernel,
         p);
}
void resample_bwd_v1(const ResampleParams& p, Stream stream) {
  launch({"resample_bwd", blocks_for(p.x.rows * p.x.cols), kThreads}, stream, resample_bwd_kernel,
         p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
