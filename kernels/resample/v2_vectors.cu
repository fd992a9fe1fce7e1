// Resampling, v2_vectors: forward and backward.
//
// math      v1_gather's
// shapes    x [N,H,W,C], y [N,P,Q,C]; channel slices of 8 m channels
// mapping   a thread gathers eight neighbouring channels of one output pixel: the taps are found
//           once for the eight, an access is 16 bytes (two for f32)
// traffic   the output once, the input once (its re-reads hit the caches): (NHW + NPQ) C elements
// roofline  memory
// delta     v1_gather finds the taps of a pixel anew for each channel
// limits    f32, f16, bf16, aligned to 16 bytes, 8 m channels
#include "kernels/resample/kernels.h"
#include "kernels/resample/taps.cuh"
#include "kernels/vectors.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// Eight channels of one pixel.
__device__ __forceinline__ std::int64_t offset_at(const View& v, std::int64_t pixel,
                                                  std::int64_t channel) {
  return pixel * v.row_stride + channel;
}

__device__ __forceinline__ void add(Eight& sum, float weight, const Eight& x) {
  each(sum, x, [=](float s, float v) { return fmaf(weight, v, s); });
}

__global__ void __launch_bounds__(kThreads, 2)
    resample_fwd_vec_kernel(const ResampleParams __grid_constant__ p) {
  const std::int64_t eights = p.y.cols / 8;
  const auto h = static_cast<int>(p.h), w = static_cast<int>(p.w);
  for (std::int64_t i = first_element(); i < p.y.rows * eights; i += next_element()) {
    const std::int64_t pixel = i / eights, c = (i - pixel * eights) * 8;
    const std::int64_t row = pixel / p.q, n = row / p.p;
    const Taps down = taps_of(p.kind, h, static_cast<int>(p.p), static_cast<int>(row - n * p.p));
    const Taps across =
        taps_of(p.kind, w, static_cast<int>(p.q), static_cast<int>(pixel - row * p.q));
    Eight sum = {};
    for (int hh = down.first; hh <= down.last; ++hh)
      for (int ww = across.first; ww <= across.last; ++ww)
        add(sum, weight_of(down, hh) * weight_of(across, ww),
            load8_at(p.x, offset_at(p.x, (n * p.h + hh) * p.w + ww, c)));
    store8_at(p.y, offset_at(p.y, pixel, c), sum);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    resample_bwd_vec_kernel(const ResampleParams __grid_constant__ p) {
  const std::int64_t eights = p.x.cols / 8;
  const auto h = static_cast<int>(p.h), w = static_cast<int>(p.w);
  const auto height = static_cast<int>(p.p), width = static_cast<int>(p.q);
  for (std::int64_t i = first_element(); i < p.x.rows * eights; i += next_element()) {
    const std::int64_t pixel = i / eights, c = (i - pixel * eights) * 8;
    const std::int64_t row = pixel / p.w, n = row / p.h;
    const auto hh = static_cast<int>(row - n * p.h), ww = static_cast<int>(pixel - row * p.w);
    int p_first, p_last, q_first, q_last;
    outputs_of(p.kind, h, height, hh, p_first, p_last);
    outputs_of(p.kind, w, width, ww, q_first, q_last);
    Eight sum = {};
    for (int pp = p_first; pp <= p_last; ++pp) {
      const float down = weight_of(taps_of(p.kind, h, height, pp), hh);
      if (down == 0.0f) continue;
      for (int qq = q_first; qq <= q_last; ++qq) {
        const float across = weight_of(taps_of(p.kind, w, width, qq), ww);
        if (across != 0.0f)
          add(sum, down * across, load8_at(p.y, offset_at(p.y, (n * p.p + pp) * p.q + qq, c)));
      }
    }
    store8_at(p.x, offset_at(p.x, pixel, c), sum);
  }
}

}  // namespace

void resample_fwd_v2(const ResampleParams& p, Stream stream) {
  launch({"resample_fwd_vec", blocks_for(p.y.rows * (p.y.cols / 8)), kThreads}, stream,
         resample_fwd_vec_kernel, p);
}
void resample_bwd_v2(const ResampleParams& p, Stream stream) {
  launch({"resample_bwd_vec", blocks_for(p.x.rows * (p.x.cols / 8)), kThreads}, stream,
         resample_bwd_vec_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
