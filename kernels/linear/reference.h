#pragma once
// The reference rows of the fully connected layer: the readable specification, for every floating
// T.
#include <cmath>
#include <vector>

#include "kernels/group_norm/reference.h"
#include "kernels/linear/linear.h"
#include "kernels/weights.h"

namespace tiller {

namespace linear_detail {

/// Row m of x, passed through SiLU when asked.
template <class T>
std::vector<Acc<T>> input_row(const Tensor& x, std::int64_t m, bool silu) {
  using A = Acc<T>;
  using std::exp;
  std::vector<A> row;  // [C]
  row.reserve(static_cast<std::size_t>(x.cols()));
  for (std::int64_t c = 0; c < x.cols(); ++c) {
    const A v = static_cast<A>(row_of<const T>(x, m)[c]);
    row.push_back(silu ? A(v / (A(1) + exp(-v))) : v);
  }
  return row;
}

}  // namespace linear_detail

template <class T>
void linear_fwd_reference(const LinearFwdArgs& args) {
  using A = Acc<T>;
  const std::int64_t channels = args.w.dim(1), outputs = args.w.dim(0);
  const std::vector<A> w = rounded_weight<T>(args.w);  // [K,C]
  const std::vector<A> bias = rounded_bias<T>(args.bias, outputs);
  Tensor seen = args.x;
  if (args.norm) {
    seen = Tensor::empty(args.x.shape(), args.x.dtype(), args.x.device());
    group_norm_fwd_reference<T>(norm_of(args, seen));
  }
  for (std::int64_t m = 0; m < args.y.rows(); ++m) {
    const std::vector<A> x = linear_detail::input_row<T>(seen, m, args.silu_input);
    for (std::int64_t k = 0; k < outputs; ++k) {
      A sum = 0;
      for (std::int64_t c = 0; c < channels; ++c)
        sum += x[static_cast<std::size_t>(c)] * w[static_cast<std::size_t>(k * channels + c)];
      if (args.bias) sum += bias[static_cast<std::size_t>(k)];
      if (args.residual) sum += static_cast<A>(row_of<const T>(args.residual, m)[k]);
      row_of<T>(args.y, m)[k] = static_cast<T>(sum);
    }
  }
}

template <class T>
void linear_dgrad_reference(const LinearDgradArgs& args) {
  using A = Acc<T>;
  const std::int64_t channels = args.w.dim(1), outputs = args.w.dim(0);
  const std::vector<A> w = rounded_weight<T>(args.w);  // [K,C]
  std::vector<A> dx(static_cast<std::size_t>(channels));
  for (std::int64_t m = 0; m < args.dy.rows(); ++m) {
    for (A& d : dx) d = A(0);
    for (std::int64_t k = 0; k < outputs; ++k) {
      const A dy = static_cast<A>(row_of<const T>(args.dy, m)[k]);
      for (std::int64_t c = 0; c < channels; ++c)
        dx[static_cast<std::size_t>(c)] += dy * w[static_cast<std::size_t>(k * channels + c)];
    }
    for (std::int64_t c = 0; c < channels; ++c)
      row_of<T>(args.dx, m)[c] = static_cast<T>(dx[static_cast<std::size_t>(c)]);
  }
}

template <class T>
void linear_wgrad_reference(const LinearWgradArgs& args) {
  using A = Acc<T>;
  const std::int64_t channels = args.dw.dim(1), outputs = args.dw.dim(0);
  std::vector<A> dw(static_cast<std::size_t>(outputs * channels), A(0));  // [K,C]
  std::vector<A> dbias(static_cast<std::size_t>(outputs), A(0));
  for (std::int64_t m = 0; m < args.dy.rows(); ++m) {
    const std::vector<A> x = linear_detail::input_row<T>(args.x, m, args.silu_input);
    for (std::int64_t k = 0; k < outputs; ++k) {
      const A dy = static_cast<A>(row_of<const T>(args.dy, m)[k]);
      for (std::int64_t c = 0; c < channels; ++c)
        dw[static_cast<std::size_t>(k * channels + c)] += dy * x[static_cast<std::size_t>(c)];
      if (args.dbias) dbias[static_cast<std::size_t>(k)] += dy;
    }
  }
  for (std::int64_t k = 0; k < outputs; ++k) {
    for (std::int64_t c = 0; c < channels; ++c)
      row_of<A>(args.dw, k)[c] = dw[static_cast<std::size_t>(k * channels + c)];
    if (args.dbias) row_of<A>(args.dbias, 0)[k] = dbias[static_cast<std::size_t>(k)];
  }
}

}  // namespace tiller
