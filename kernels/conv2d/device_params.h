#pragma once
// A convolution's arguments as its kernels take them.
#include "kernels/conv2d/kernels.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/device_rows.h"

namespace tiller {
inline namespace TILLER_DEVICE {

inline ConvShape shape_of(const ConvSizes& z) {
  const auto narrow = [](std::int64_t size) { return static_cast<int>(size); };
  return {narrow(z.n),       narrow(z.h),    narrow(z.w),
          narrow(z.c0),      narrow(z.c),    narrow(z.k),
          narrow(z.r),       narrow(z.s),    narrow(z.p),
          narrow(z.q),       narrow(z.c2),   narrow(z.c2 + z.c3),
          z.geometry.stride, z.geometry.pad, z.geometry.up2x ? 2 : 1};
}

/// Whether rows, columns and terms can be counted in ints, and the tiles in a grid.
inline bool countable(const ConvSizes& z) {
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  return z.n * z.p * z.q < kMost && z.n * z.h * z.w < kMost && 4 * z.r * z.s * z.k < kMost &&
         z.r * z.s * z.c + z.c2 + z.c3 < 65535 * 64 && z.k < 65535 * 64 && z.c < 65535 * 64 &&
         z.n <= 65535;
}

inline Conv2dFwdParams params_of(const Conv2dFwdArgs& args) {
  Conv2dFwdParams p{};
  p.z = shape_of(ConvSizes(args));
  p.x0 = view_of(args.x0);
  p.x1 = view_of(args.x1);
  p.w = view_of(args.w);
  p.bias = view_of(args.bias);
  p.residual = view_of(args.residual);
  p.skip0 = view_of(args.skip0);
  p.skip1 = view_of(args.skip1);
  p.skip_w = view_of(args.skip_w);
  p.skip_bias = view_of(args.skip_bias);
  p.y = view_of(args.y);
  p.residual_up2x = args.residual_up2x;
  return p;
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
