#pragma once
// The inner loops of the CPU rows of group_norm: some pixels (rows of x) of one source, all of its
// channels. Compiled once per instruction set (kernels/simd.h says what that asks of this header).
#include <cstdint>

#include "runtime/half.h"

namespace tiller::group_norm_detail {

/// Rows of channels, `stride` elements apart.
template <class T>
struct Rows {
  T* at;
  std::int64_t stride;
};

/// Per sample and channel, `stride` floats from one constant to the next: kMean .. of the direction.
struct Constants {
  const float* at;
  std::int64_t stride;
};
enum FwdConstant { kFwdMean, kFwdScale, kFwdShift, kFwdConstants };  // y = (x - mean) scale + shift
// xhat = (x - mean) rstd; z = xhat k + b; dx = dz dx_dz + (dx_0 + xhat dx_xhat).
enum BwdConstant { kMean, kRstd, kK, kB, kDxDz, kDx0, kDxXhat, kBwdConstants };

template <class T>
struct Loops {
  /// sum[c] += x
  void (*add)(Rows<const T> x, std::int64_t rows, std::int64_t channels, float* sum);
  /// m2[c] += (x - mean[c])^2
  void (*add_squares)(Rows<const T> x, std::int64_t rows, std::int64_t channels, const float* mean,
                      float* m2);
  /// y = silu((x - mean) scale + shift); [silu]
  void (*apply[2])(Rows<const T> x, std::int64_t rows, std::int64_t channels, Constants k,
                   Rows<T> y);
  /// One row: the mean of four.
  void (*apply_and_pool[2])(const T* const (&x)[4], std::int64_t channels, Constants k, T* y);
  /// dz = dy_scale dy silu'(z); s1[c] += dz, s2[c] += dz xhat. Keeps dz where dz.at is not null.
  void (*sums[2])(Rows<const T> x, Rows<const T> dy, std::int64_t rows, std::int64_t channels,
                  Constants k, float dy_scale, float* s1, float* s2, Rows<T> dz);
  /// dx, from dy; without silu, dy may be dx: the dz that sums() kept. Adds `add` where it is not
  /// null.
  void (*write[2])(Rows<const T> x, Rows<const T> dy, Rows<const T> add, std::int64_t rows,
                   std::int64_t channels, Constants k, float dy_scale, Rows<T> dx);
};

struct AllLoops {
  Loops<float> f32;
  Loops<f16> half;
  Loops<bf16> brain;
  const Loops<float>& of(float) const { return f32; }
  const Loops<f16>& of(f16) const { return half; }
  const Loops<bf16>& of(bf16) const { return brain; }
};

const AllLoops& loops_avx2();
const AllLoops& loops_avx512();  ///< ask Avx512::available() first

}  // namespace tiller::group_norm_detail
