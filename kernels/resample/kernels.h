#pragma once
// What the resampling kernels are launched with.
#include "kernels/resample/kinds.h"
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// small is [N,H,W,C], the forward's input; large is [N,P,Q,C], its output.
struct ResampleParams {
  ResampleKind kind;
  View x, y;  // [N,H,W,C], [N,P,Q,C]; in the backward dx and dy
  std::int64_t n, h, w, p, q;
};
void resample_fwd_v1(const ResampleParams& params, Stream stream);
void resample_fwd_v2(const ResampleParams& params, Stream stream);
void resample_bwd_v1(const ResampleParams& params, Stream stream);
void resample_bwd_v2(const ResampleParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
