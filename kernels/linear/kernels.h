#pragma once
// What the kernels of the fully connected layer are launched with.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct LinearFwdParams {
  View x, w, bias, residual, y;  // [M,C], [K,C], [K] or absent, [M,K] or absent, [M,K]
  bool silu;                     ///< x passes through SiLU first
};
struct LinearDgradParams {
  View dy, w, dx;  // [M,K], [K,C], [M,C]
};
struct LinearWgradParams {
  View x, dy, dw, dbias;  // [M,C], [M,K], [K,C], [K] or absent
  bool silu;
};
void linear_fwd_v1(const LinearFwdParams& params, Stream stream);
void linear_dgrad_v1(const LinearDgradParams& params, Stream stream);
void linear_wgrad_v1(const LinearWgradParams& params, Stream stream);
void linear_fwd_v2(const LinearFwdParams& params, Stream stream);
void linear_dgrad_v2(const LinearDgradParams& params, Stream stream);
void linear_wgrad_v2(const LinearWgradParams& params, Stream stream);

inline constexpr int kWarpRows = 16;  ///< the most rows that v3_warp takes
void linear_fwd_v3_warp(const LinearFwdParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
