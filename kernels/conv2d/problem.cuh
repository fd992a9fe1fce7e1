#pragma once
// The convolution's three products as Problems (kernels/gemm/problem.cuh): an implicit GEMM. No
// matrix of gathered pixels exists; a(row, k) finds the pixel.
#include "kernels/conv2d/kernels.h"
#include "kernels/gemm/problem.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// A pixel of y (or of dy), and a tap within the kernel.
struct Pixel {
  int n, p, q;
};
struct Tap {
  int r, s, c;
};

__device__ __forceinline__ Pixel pixel_of(int index, int height, int width) {
  const int row = index / width, n = row / height;
  return {n, row - n * height, index - row * width};
}
__device__ __forceinline__ Tap tap_of(const ConvShape& z, int k) {
  const int rs = k / z.c, r = rs / z.s;
  return {r, rs - r * z.s, k - rs * z.c};
}

/// Where an element of a tensor of T stands.
template <class T>
__device__ __forceinline__ const T* element(const View& v, std::int64_t row, int channel) {
  return static_cast<const T*>(v.data) + row * v.row_stride + channel;
}

/// Channel t.c of what tap t of output pixel `at` reads: zero on the padding.
template <class Params>
__device__ __forceinline__ float gathered(const Params& p, const Pixel& at, const Tap& t) {
  const ConvShape& z = p.z;
  const int h = at.p * z.stride + t.r - z.pad, w = at.q * z.stride + t.s - z.pad;
  if (h < 0 || h >= z.up * z.h || w < 0 || w >= z.up * z.w) return 0.0f;
  const std::int64_t row = (std::int64_t{at.n} * z.h + h / z.up) * z.w + w / z.up;
  return t.c < z.c0 ? load(p.x0, row, t.c) : load(p.x1, row, t.c - z.c0);
}

/// y[npq,k] = sum over rsc of x[npq,rsc] w[k,rsc], then over the skip's channels: its 1x1
/// convolution is a longer sum.
struct ConvFwdProblem {
  const Conv2dFwdParams& p;
  int m, n, k, taps;
  static constexpr bool kAContiguous = true, kBContiguous = true;
  __device__ explicit ConvFwdProblem(const Conv2dFwdParams& params)
      : p(params),
        m(params.z.n * params.z.p * params.z.q),
        n(params.z.k),
        k(params.z.r * params.z.s * params.z.c + params.z.skip_c),
        taps(params.z.r * params.z.s * params.z.c) {}
  struct Row {
    Pixel at;
    int index;
  };
  __device__ Row a_row(int row) const { return {pixel_of(row, p.z.p, p.z.q), row}; }
  __device__ int b_row(int row) const { return row; }
  __device__ float a(const Row& row, int kk) const {
    if (kk < taps) return gathered(p, row.at, tap_of(p.z, kk));
    const int c = kk - taps;
    return c < p.z.c2 ? load(p.skip0, row.index, c) : load(p.skip1, row.index, c - p.z.c2);
  }
  __device__ float b(int row, int kk) const {
    const float w = kk < taps ? load_at(p.w, std::int64_t{row} * taps + kk)
                              : load_at(p.skip_w, std::int64_t{row} * p.z.skip_c + kk - taps);
    return rounded(p.y.dtype, w);
  }
  __device__ void write(int row, int column, float sum) const {
    if (p.bias.data) sum += rounded(p.y.dtype, load(p.bias, 0, column));
    if (p.skip_bias.data) sum += rounded(p.y.dtype, load(p.skip_bias, 0, column));
    if (p.residual.data) {
      std::int64_t from = row;
      if (p.residual_up2x) {
        const Pixel at = pixel_of(row, p.z.p, p.z.q);
        from = (std::int64_t{at.n} * (p.z.p / 2) + at.p / 2) * (p.z.q / 2) + at.q / 2;
      }
      sum += load(p.residual, from, column);
    }
    store(p.y, row, column, sum);
  }
};

/// dx[nhw,c] = sum over rsk (and the copies that up-sampling made) of dy w[k,r,s,c], over the taps
/// that read this pixel.
struct ConvDgradProblem {
  const Conv2dDgradParams& p;
  int m, n, k;
  static constexpr bool kAContiguous = true, kBContiguous = false;
  __device__ explicit ConvDgradProblem(const Conv2dDgradParams& params)
      : p(params),
        m(params.z.n * params.z.h * params.z.w),
        n(params.z.c),
        k(params.z.up * params.z.up * params.z.r * params.z.s * params.z.k) {}
  // k counts copy (of the up-sampling), then r, s, output channel.
  struct Term {
    int copy_h, copy_w, r, s, k;
  };
  __device__ Term term_of(int index) const {
    const int rest = index / p.z.k, tap = rest % (p.z.r * p.z.s), copy = rest / (p.z.r * p.z.s);
    return {copy / p.z.up, copy % p.z.up, tap / p.z.s, tap % p.z.s, index - rest * p.z.k};
  }
  __device__ Pixel a_row(int row) const { return pixel_of(row, p.z.h, p.z.w); }
  __device__ int b_row(int row) const { return row; }
  __device__ float a(const Pixel& x, int kk) const {
    const ConvShape& z = p.z;
    const Term t = term_of(kk);
    // Tap (r, s) of output (pp, qq) read this pixel when pp * stride + r - pad is its row.
    const int h = x.p * z.up + t.copy_h + z.pad - t.r, w = x.q * z.up + t.copy_w + z.pad - t.s;
    if (h < 0 || w < 0 || h % z.stride != 0 || w % z.stride != 0) return 0.0f;
    const int pp = h / z.stride, qq = w / z.stride;
    if (pp >= z.p || qq >= z.q) return 0.0f;
    return load(p.dy, (std::int64_t{x.n} * z.p + pp) * z.q + qq, t.k);
  }
  __device__ float b(int c, int kk) const {
    const Term t = term_of(kk);
    return rounded(p.dy.dtype,
                   load_at(p.w, ((std::int64_t{t.k} * p.z.r + t.r) * p.z.s + t.s) * p.z.c + c));
  }
  __device__ void write(int row, int c, float sum) const {
    if (c < p.z.c0)
      store(p.dx0, row, c, sum);
    else
      store(p.dx1, row, c - p.z.c0, sum);
  }
};

/// dw[k,rsc] = sum over npq of dy[npq,k] x[npq,rsc]; one column more is dbias, whose x is 1.
struct ConvWgradProblem {
  const Conv2dWgradParams& p;
  int m, n, k, taps;
  static constexpr bool kAContiguous = false, kBContiguous = false;
  __device__ explicit ConvWgradProblem(const Conv2dWgradParams& params)
      : p(params),
        m(params.z.k),
        n(params.z.r * params.z.s * params.z.c + (params.dbias.data ? 1 : 0)),
        k(params.z.n * params.z.p * params.z.q),
        taps(params.z.r * params.z.s * params.z.c) {}
  struct Column {
    Tap tap;
    bool bias;
  };
  __device__ int a_row(int row) const { return row; }
  __device__ Column b_row(int column) const { return {tap_of(p.z, column), column == taps}; }
  __device__ float a(int kk, int pixel) const { return load(p.dy, pixel, kk); }
  __device__ float b(const Column& column, int pixel) const {
    return column.bias ? 1.0f : gathered(p, pixel_of(pixel, p.z.p, p.z.q), column.tap);
  }
  __device__ void write(int kk, int column, float sum) const {
    if (column == taps)
      store(p.dbias, 0, kk, sum);
    else
      store_at(p.dw, std::int64_t{kk} * taps + column, sum);
  }
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
