#pragma once
// The fully connected layer's three products as Problems (kernels/gemm/problem.cuh).
#include "kernels/gemm/problem.cuh"
#include "kernels/linear/kernels.h"

namespace tiller {
inline namespace TILLER_DEVICE {

__device__ __forceinline__ float silu_if(bool silu, float x) {
  return silu ? x / (1.0f + expf(-x)) : x;
}

/// y[m,k] = sum_c silu?(x[m,c]) w[k,c]: m rows, n outputs, k channels.
struct LinearFwdProblem {
  const LinearFwdParams& p;
  int m, n, k;
  static constexpr bool kAContiguous = true, kBContiguous = true;
  __device__ explicit LinearFwdProblem(const LinearFwdParams& params)
      : p(params),
        m(static_cast<int>(params.y.rows)),
        n(static_cast<int>(params.w.rows)),
        k(static_cast<int>(params.w.cols)) {}
  __device__ int a_row(int row) const { return row; }
  __device__ int b_row(int row) const { return row; }
  __device__ float a(int row, int c) const { return silu_if(p.silu, load(p.x, row, c)); }
  __device__ float b(int row, int c) const { return rounded(p.x.dtype, load(p.w, row, c)); }
  __device__ void write(int row, int column, float sum) const {
    if (p.bias.data) sum += rounded(p.x.dtype, load(p.bias, 0, column));
    if (p.residual.data) sum += load(p.residual, row, column);
    store(p.y, row, column, sum);
  }
};

/// dx[m,c] = sum_k dy[m,k] w[k,c].
struct LinearDgradProblem {
  const LinearDgradParams& p;
  int m, n, k;
  static constexpr bool kAContiguous = true, kBContiguous = false;
  __device__ explicit LinearDgradProblem(const LinearDgradParams& params)
      : p(params),
        m(static_cast<int>(params.dx.rows)),
        n(static_cast<int>(params.w.cols)),
        k(static_cast<int>(params.w.rows)) {}
  __device__ int a_row(int row) const { return row; }
  __device__ int b_row(int row) const { return row; }
  __device__ float a(int row, int kk) const { return load(p.dy, row, kk); }
  __device__ float b(int c, int kk) const { return rounded(p.dy.dtype, load(p.w, kk, c)); }
  __device__ void write(int row, int c, float sum) const { store(p.dx, row, c, sum); }
};

/// dw[k,c] = sum_m dy[m,k] silu?(x[m,c]); one column more than C is dbias, whose x is 1.
struct LinearWgradProblem {
  const LinearWgradParams& p;
  int m, n, k;
  static constexpr bool kAContiguous = false, kBContiguous = false;
  __device__ explicit LinearWgradProblem(const LinearWgradParams& params)
      : p(params),
        m(static_cast<int>(params.dw.rows)),
        n(static_cast<int>(params.dw.cols) + (params.dbias.data ? 1 : 0)),
        k(static_cast<int>(params.dy.rows)) {}
  __device__ int a_row(int row) const { return row; }
  __device__ int b_row(int row) const { return row; }
  __device__ float a(int kk, int row) const { return load(p.dy, row, kk); }
  __device__ float b(int c, int row) const {
    return c == p.dw.cols ? 1.0f : silu_if(p.silu, load(p.x, row, c));
  }
  __device__ void write(int kk, int c, float sum) const {
    if (c == p.dw.cols)
      store(p.dbias, 0, kk, sum);
    else
      store(p.dw, kk, c, sum);
  }
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
