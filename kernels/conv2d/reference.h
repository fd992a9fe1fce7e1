#pragma once
// The reference rows of the convolution: the readable specification, for every floating T. A tap on
// the padding multiplies by zero like any other, so that the arithmetic is what cost() says.
#include <vector>

#include "kernels/conv2d/sizes.h"
#include "kernels/weights.h"

namespace tiller {

namespace conv2d_detail {

/// sum over c of x[row,c] * w[c]; a row of -1 is the padding.
template <class T>
void add_product(Acc<T>& sum, const Tensor& x, std::int64_t row, const Acc<T>* w) {
  const T* values = row < 0 ? nullptr : row_of<const T>(x, row);
  for (std::int64_t c = 0; c < x.cols(); ++c)
    sum += (values ? static_cast<Acc<T>>(values[c]) : Acc<T>(0)) * w[c];
}

/// Mean and sum of squared deviations, in two passes.
template <class A>
void write_moments(const std::vector<A>& values, A* mean_m2) {
  A sum = 0;
  for (const A& v : values) sum += v;
  const A mean = sum / A(static_cast<double>(values.size()));
  A m2 = 0;
  for (const A& v : values) {
    const A d = v - mean;
    m2 += d * d;
  }
  mean_m2[0] = mean;
  mean_m2[1] = m2;
}

}  // namespace conv2d_detail

template <class T>
void conv2d_fwd_reference(const Conv2dFwdArgs& args) {
  using namespace conv2d_detail;
  using A = Acc<T>;
  const ConvSizes z(args);
  const std::vector<A> w = rounded_weight<T>(args.w);  // [K,R,S,C]
  const std::vector<A> bias = rounded_bias<T>(args.bias, z.k);
  const std::vector<A> skip_w =
      args.skip_w ? rounded_weight<T>(args.skip_w) : std::vector<A>();  // [K,C2+C3]
  const std::vector<A> skip_bias = rounded_bias<T>(args.skip_bias, z.k);
  std::vector<A> plane(static_cast<std::size_t>(z.p * z.q));  // one channel of y, rounded, [P,Q]
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t k = 0; k < z.k; ++k) {
      for (std::int64_t p = 0; p < z.p; ++p)
        for (std::int64_t q = 0; q < z.q; ++q) {
          const std::int64_t pixel = (n * z.p + p) * z.q + q;
          A sum = 0;
          for (std::int64_t r = 0; r < z.r; ++r)
            for (std::int64_t s = 0; s < z.s; ++s) {
              const std::int64_t row = z.source_row(n, p, q, r, s);
              const A* tap = w.data() + ((k * z.r + r) * z.s + s) * z.c;
              add_product<T>(sum, args.x0, row, tap);
              if (args.x1) add_product<T>(sum, args.x1, row, tap + z.c0);
            }
          if (args.bias) sum += bias[static_cast<std::size_t>(k)];
          if (args.skip0) {
            const A* tap = skip_w.data() + k * (z.c2 + z.c3);
            add_product<T>(sum, args.skip0, pixel, tap);
            if (args.skip1) add_product<T>(sum, args.skip1, pixel, tap + z.c2);
          }
          if (args.skip_bias) sum += skip_bias[static_cast<std::size_t>(k)];
          if (args.residual) {
            const std::int64_t row =
                args.residual_up2x ? (n * (z.p / 2) + p / 2) * (z.q / 2) + q / 2 : pixel;
            sum += static_cast<A>(row_of<const T>(args.residual, row)[k]);
          }
          const T rounded = static_cast<T>(sum);
          row_of<T>(args.y, pixel)[k] = rounded;
          plane[static_cast<std::size_t>(p * z.q + q)] = static_cast<A>(rounded);
        }
      if (args.stats) write_moments(plane, row_of<A>(args.stats, n * z.k + k));
    }
}

/// Scatters each dy to the x that its taps read. Taps on the padding go to a row that nobody keeps.
template <class T>
void conv2d_dgrad_reference(const Conv2dDgradArgs& args) {
  using A = Acc<T>;
  const ConvSizes z(args);
  const std::vector<A> w = rounded_weight<T>(args.w);  // [K,R,S,C]
  const std::int64_t pixels = z.n * z.h * z.w;
  std::vector<A> dx(static_cast<std::size_t>((pixels + 1) * z.c), A(0));  // [N,H,W,C] and padding
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t p = 0; p < z.p; ++p)
      for (std::int64_t q = 0; q < z.q; ++q) {
        const T* dy = row_of<const T>(args.dy, (n * z.p + p) * z.q + q);
        for (std::int64_t r = 0; r < z.r; ++r)
          for (std::int64_t s = 0; s < z.s; ++s) {
            const std::int64_t row = z.source_row(n, p, q, r, s);
            A* to = dx.data() + (row < 0 ? pixels : row) * z.c;
            for (std::int64_t k = 0; k < z.k; ++k) {
              const A d = static_cast<A>(dy[k]);
              const A* tap = w.data() + ((k * z.r + r) * z.s + s) * z.c;
              for (std::int64_t c = 0; c < z.c; ++c) to[c] += d * tap[c];
            }
          }
      }
  for (std::int64_t row = 0; row < pixels; ++row) {
    const A* from = dx.data() + row * z.c;
    for (std::int64_t c = 0; c < z.c0; ++c) row_of<T>(args.dx0, row)[c] = static_cast<T>(from[c]);
    for (std::int64_t c = 0; c < z.c1; ++c)
      row_of<T>(args.dx1, row)[c] = static_cast<T>(from[z.c0 + c]);
  }
}

template <class T>
void conv2d_wgrad_reference(const Conv2dWgradArgs& args) {
  using A = Acc<T>;
  const ConvSizes z(args);
  std::vector<A> dw(static_cast<std::size_t>(args.dw.numel()), A(0));  // [K,R,S,C]
  std::vector<A> dbias(static_cast<std::size_t>(z.k), A(0));
  std::vector<A> x(static_cast<std::size_t>(z.c));  // one pixel of the concatenation
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t p = 0; p < z.p; ++p)
      for (std::int64_t q = 0; q < z.q; ++q) {
        const T* dy = row_of<const T>(args.dy, (n * z.p + p) * z.q + q);
        for (std::int64_t r = 0; r < z.r; ++r)
          for (std::int64_t s = 0; s < z.s; ++s) {
            const std::int64_t row = z.source_row(n, p, q, r, s);
            for (std::int64_t c = 0; c < z.c; ++c) {
              A& to = x[static_cast<std::size_t>(c)];
              if (row < 0)
                to = A(0);
              else
                to = static_cast<A>(c < z.c0 ? row_of<const T>(args.x0, row)[c]
                                             : row_of<const T>(args.x1, row)[c - z.c0]);
            }
            for (std::int64_t k = 0; k < z.k; ++k) {
              const A d = static_cast<A>(dy[k]);
              A* to = dw.data() + ((k * z.r + r) * z.s + s) * z.c;
              for (std::int64_t c = 0; c < z.c; ++c) to[c] += d * x[static_cast<std::size_t>(c)];
            }
          }
        if (args.dbias)
          for (std::int64_t k = 0; k < z.k; ++k)
            dbias[static_cast<std::size_t>(k)] += static_cast<A>(dy[k]);
      }
  for (std::int64_t row = 0; row < args.dw.rows(); ++row)
    for (std::int64_t c = 0; c < z.c; ++c)
      row_of<A>(args.dw, row)[c] = dw[static_cast<std::size_t>(row * z.c + c)];
  if (args.dbias)
    for (std::int64_t k = 0; k < z.k; ++k)
      row_of<A>(args.dbias, 0)[k] = dbias[static_cast<std::size_t>(k)];
}

}  // namespace tiller
