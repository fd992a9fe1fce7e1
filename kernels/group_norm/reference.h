#pragma once
// The reference rows of group_norm: the readable specification, for every floating T. Parameters
// and statistics are Acc<T> (f32, or f64 with f64); emb may be either Acc<T> or T.
#include <vector>

#include "kernels/group_norm/group_norm.h"
#include "kernels/reference.h"

namespace tiller {

/// The extents of one call. Pixels are H*W, or T.
struct GroupNormSizes {
  std::int64_t samples, pixels, c0, channels, groups, group_size;

  template <class Args>
  explicit GroupNormSizes(const Args& args)
      : samples(args.x0.dim(0)),
        pixels(1),
        c0(args.x0.cols()),
        channels(c0 + (args.x1 ? args.x1.cols() : 0)),
        groups(args.groups),
        group_size(channels / groups) {
    for (int i = 1; i + 1 < args.x0.rank(); ++i) pixels *= args.x0.dim(i);
  }
};

namespace group_norm_detail {

/// Channel c of row `row` in the concatenation of x0 and x1.
template <class T>
T& at(const Tensor& x0, const Tensor& x1, std::int64_t c0, std::int64_t row, std::int64_t c) {
  return c < c0 ? row_of<T>(x0, row)[c] : row_of<T>(x1, row)[c - c0];
}

/// emb[n,i], whose dtype is Acc<T>'s or T's.
template <class T>
Acc<T> load_emb(const Tensor& emb, std::int64_t n, std::int64_t i) {
  if (emb.dtype() == DTypeOf<T>::value) return static_cast<Acc<T>>(row_of<const T>(emb, n)[i]);
  return row_of<const Acc<T>>(emb, n)[i];
}
template <class T>
void store_emb(const Tensor& emb, std::int64_t n, std::int64_t i, const Acc<T>& value) {
  if (emb.dtype() == DTypeOf<T>::value)
    row_of<T>(emb, n)[i] = static_cast<T>(value);
  else
    row_of<Acc<T>>(emb, n)[i] = value;
}

template <class A>
struct Moments {
  A mean, m2;  ///< m2: the sum of squared deviations from the mean
};

/// Over the pixels of one sample and channel. Two passes: E[x^2] - E[x]^2 would lose every digit
/// where the mean is large against the deviation.
template <class T>
Moments<Acc<T>> channel_moments(const GroupNormFwdArgs& args, const GroupNormSizes& s,
                                std::int64_t n, std::int64_t c) {
  using A = Acc<T>;
  const Tensor& ready = c < s.c0 ? args.stats0 : args.stats1;
  if (ready) {  // [N,C,2] has a row per sample and channel
    const std::int64_t own = c < s.c0 ? c : c - s.c0;
    const A* stats = row_of<const A>(ready, n * ready.dim(1) + own);
    return {stats[0], stats[1]};
  }
  A sum = 0;
  for (std::int64_t p = 0; p < s.pixels; ++p)
    sum += static_cast<A>(at<const T>(args.x0, args.x1, s.c0, n * s.pixels + p, c));
  const A mean = sum / A(static_cast<double>(s.pixels));
  A m2 = 0;
  for (std::int64_t p = 0; p < s.pixels; ++p) {
    const A d = static_cast<A>(at<const T>(args.x0, args.x1, s.c0, n * s.pixels + p, c)) - mean;
    m2 += d * d;
  }
  return {mean, m2};
}

/// Chan, Golub & LeVeque (1979), for channels of equal count: the deviations within the channels
/// plus those between their means.
template <class A>
Moments<A> merge(const std::vector<Moments<A>>& channels, std::int64_t pixels) {
  A sum = 0;
  for (const Moments<A>& m : channels) sum += m.mean;
  const A mean = sum / A(static_cast<double>(channels.size()));
  A m2 = 0;
  for (const Moments<A>& m : channels) {
    const A d = m.mean - mean;
    m2 += m.m2 + A(static_cast<double>(pixels)) * (d * d);
  }
  return {mean, m2};
}

/// What turns xhat into z for one sample and channel.
template <class A>
struct Affine {
  A gamma, beta, scale1, shift;  ///< scale1 = 1 + scale
  bool has_emb;
  A operator()(const A& xhat) const {
    const A z = xhat * gamma + beta;
    return has_emb ? A(z * scale1 + shift) : z;
  }
};

}  // namespace group_norm_detail

template <class T>
void group_norm_fwd_reference(const GroupNormFwdArgs& args) {
  using namespace group_norm_detail;
  using A = Acc<T>;
  using std::exp;
  using std::sqrt;
  const GroupNormSizes s(args);
  const std::int64_t width = args.pool ? args.x0.dim(2) : 0;
  const std::int64_t out_pixels = args.pool ? s.pixels / 4 : s.pixels;
  std::vector<Moments<A>> moments(static_cast<std::size_t>(s.group_size));
  for (std::int64_t n = 0; n < s.samples; ++n)
    for (std::int64_t g = 0; g < s.groups; ++g) {
      for (std::int64_t i = 0; i < s.group_size; ++i)
        moments[static_cast<std::size_t>(i)] = channel_moments<T>(args, s, n, g * s.group_size + i);
      const Moments<A> group = merge(moments, s.pixels);
      const A variance = group.m2 / A(static_cast<double>(s.pixels * s.group_size));
      const A rstd = A(1) / sqrt(variance + A(args.eps));
      A* mean_rstd = row_of<A>(args.mean_rstd, n * s.groups + g);
      mean_rstd[0] = group.mean;
      mean_rstd[1] = rstd;

      for (std::int64_t c = g * s.group_size; c < (g + 1) * s.group_size; ++c) {
        Affine<A> affine{row_of<const A>(args.gamma, 0)[c], row_of<const A>(args.beta, 0)[c], 1, 0,
                         args.emb.defined()};
        if (args.emb) {
          affine.scale1 = A(1) + load_emb<T>(args.emb, n, c);
          affine.shift = load_emb<T>(args.emb, n, s.channels + c);
        }
        const auto activated = [&](std::int64_t p) {
          const A x = static_cast<A>(at<const T>(args.x0, args.x1, s.c0, n * s.pixels + p, c));
          const A z = affine((x - group.mean) * rstd);
          return args.silu ? A(z / (A(1) + exp(-z))) : z;
        };
        for (std::int64_t p = 0; p < out_pixels; ++p) {
          T& y = row_of<T>(args.y, n * out_pixels + p)[c];
          if (!args.pool) {
            y = static_cast<T>(activated(p));
            continue;
          }
          const std::int64_t top_left = p / (width / 2) * 2 * width + p % (width / 2) * 2;
          A sum = 0;
          for (const std::int64_t q :
               {top_left, top_left + 1, top_left + width, top_left + width + 1})
            sum += activated(q);
          y = static_cast<T>(sum * A(0.25));
        }
      }
    }
}

/// With dz = dL/dz, k = gamma (1 + scale), S1 = sum_p dz, S2 = sum_p dz xhat per sample and
/// channel:
///   dshift = S1;  dscale = gamma S2 + beta S1;  dbeta = sum_n (1+scale) S1;  dgamma likewise with
///   S2; dx = rstd (k dz - mean_g(k dz) - xhat mean_g(k dz xhat)).
template <class T>
void group_norm_bwd_reference(const GroupNormBwdArgs& args) {
  using namespace group_norm_detail;
  using A = Acc<T>;
  using std::exp;
  const GroupNormSizes s(args);
  const std::int64_t width = args.pool ? args.x0.dim(2) : 0;
  const std::int64_t out_pixels = args.pool ? s.pixels / 4 : s.pixels;
  const auto size = static_cast<std::size_t>(s.group_size * s.pixels);
  std::vector<A> xhat(size), dz(size);  // [C/G,H*W] of one sample and group
  std::vector<A> k(static_cast<std::size_t>(s.group_size));
  std::vector<A> dgamma(static_cast<std::size_t>(s.channels), A(0)), dbeta = dgamma;  // [C]
  for (std::int64_t n = 0; n < s.samples; ++n)
    for (std::int64_t g = 0; g < s.groups; ++g) {
      const A mean = row_of<const A>(args.mean_rstd, n * s.groups + g)[0];
      const A rstd = row_of<const A>(args.mean_rstd, n * s.groups + g)[1];
      A sum1 = 0, sum2 = 0;  // of k dz and k dz xhat over the group
      for (std::int64_t i = 0; i < s.group_size; ++i) {
        const std::int64_t c = g * s.group_size + i;
        Affine<A> affine{row_of<const A>(args.gamma, 0)[c], 0, 1, 0, args.emb.defined()};
        if (args.silu || args.demb) affine.beta = row_of<const A>(args.beta, 0)[c];
        if (args.emb) affine.scale1 = A(1) + load_emb<T>(args.emb, n, c);
        if (args.emb && args.silu) affine.shift = load_emb<T>(args.emb, n, s.channels + c);

        A s1 = 0, s2 = 0;
        for (std::int64_t p = 0; p < s.pixels; ++p) {
          const auto ip = static_cast<std::size_t>(i * s.pixels + p);
          const A x = static_cast<A>(at<const T>(args.x0, args.x1, s.c0, n * s.pixels + p, c));
          xhat[ip] = (x - mean) * rstd;
          const std::int64_t out = args.pool ? p / width / 2 * (width / 2) + p % width / 2 : p;
          A d = static_cast<A>(row_of<const T>(args.dy, n * out_pixels + out)[c]);
          if (args.pool) d = d * A(0.25);
          if (args.silu) {
            const A z = affine(xhat[ip]);
            const A sigmoid = A(1) / (A(1) + exp(-z));
            d = d * (sigmoid * (A(1) + z * (A(1) - sigmoid)));
          }
          dz[ip] = d;
          s1 += d;
          s2 += d * xhat[ip];
        }
        if (args.demb) {
          store_emb<T>(args.demb, n, c, affine.gamma * s2 + affine.beta * s1);
          store_emb<T>(args.demb, n, s.channels + c, s1);
        }
        if (args.dgamma) dgamma[static_cast<std::size_t>(c)] += affine.scale1 * s2;
        if (args.dbeta) dbeta[static_cast<std::size_t>(c)] += affine.scale1 * s1;
        A& ki = k[static_cast<std::size_t>(i)];
        ki = affine.gamma * affine.scale1;
        sum1 += ki * s1;
        sum2 += ki * s2;
      }
      const A count = static_cast<double>(size);
      const A mean1 = sum1 / count, mean2 = sum2 / count;
      for (std::int64_t i = 0; i < s.group_size; ++i) {
        const std::int64_t c = g * s.group_size + i;
        if (!(c < s.c0 ? args.dx0 : args.dx1)) continue;
        for (std::int64_t p = 0; p < s.pixels; ++p) {
          const auto ip = static_cast<std::size_t>(i * s.pixels + p);
          A d = rstd * (k[static_cast<std::size_t>(i)] * dz[ip] - mean1 - xhat[ip] * mean2);
          if (args.add0 && c < s.c0)
            d += static_cast<A>(row_of<const T>(args.add0, n * s.pixels + p)[c]);
          at<T>(args.dx0, args.dx1, s.c0, n * s.pixels + p, c) = static_cast<T>(d);
        }
      }
    }
  for (std::int64_t c = 0; c < s.channels; ++c) {
    if (args.dgamma) row_of<A>(args.dgamma, 0)[c] = dgamma[static_cast<std::size_t>(c)];
    if (args.dbeta) row_of<A>(args.dbeta, 0)[c] = dbeta[static_cast<std::size_t>(c)];
  }
}

}  // namespace tiller
