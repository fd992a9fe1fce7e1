#pragma once
// The reference row of resampling, forward and backward alike, for every floating T.
#include "kernels/reference.h"
#include "kernels/resample/taps.h"

namespace tiller {

/// y[n,p,q] = sum over the taps (h, u) of p and (w, v) of q of u v x[n,h,w]; x [N,H,W,C], y
/// [N,P,Q,C].
template <class T>
void resample_reference(const Tensor& x, const Tensor& y, const Axis& rows, const Axis& columns) {
  using A = Acc<T>;
  const std::int64_t height = x.dim(1), width = x.dim(2);
  for (std::int64_t r = 0; r < y.rows(); ++r) {
    const std::int64_t q = r % y.dim(2), p = r / y.dim(2) % y.dim(1), n = r / y.dim(2) / y.dim(1);
    const std::vector<Tap>& up = rows.taps[static_cast<std::size_t>(p)];
    const std::vector<Tap>& across = columns.taps[static_cast<std::size_t>(q)];
    for (std::int64_t c = 0; c < y.cols(); ++c) {
      A sum = A(0);
      bool first = true;
      for (const Tap& u : up)
        for (const Tap& v : across) {
          A term = static_cast<A>(row_of<const T>(x, (n * height + u.index) * width + v.index)[c]);
          if (u.weight * v.weight != 1) term *= A(u.weight * v.weight);
          sum = first ? term : sum + term;
          first = false;
        }
      if (rows.mean) sum /= A(static_cast<double>(up.size() * across.size()));
      row_of<T>(y, r)[c] = static_cast<T>(sum);
    }
  }
}

template <class T>
void resample_fwd_reference(const ResampleFwdArgs& args) {
  resample_reference<T>(args.x, args.y, forward_axis(args.kind, args.x.dim(1), args.y.dim(1)),
                        forward_axis(args.kind, args.x.dim(2), args.y.dim(2)));
}

template <class T>
void resample_bwd_reference(const ResampleBwdArgs& args) {
  resample_reference<T>(args.dy, args.dx, backward_axis(args.kind, args.dx.dim(1), args.dy.dim(1)),
                        backward_axis(args.kind, args.dx.dim(2), args.dy.dim(2)));
}

}  // namespace tiller
