#pragma once
// The reference rows of the embeddings, for the arithmetic types float, double and Counted.
#include <vector>

#include "kernels/embedding/embedding.h"
#include "kernels/reference.h"

namespace tiller {

template <class A>
void embedding_fwd_reference(const EmbeddingFwdArgs& args) {
  const std::int64_t* index = args.index.data<std::int64_t>();  // [N]
  for (std::int64_t n = 0; n < args.y.rows(); ++n)
    for (std::int64_t c = 0; c < args.y.cols(); ++c) {
      A value = load<A>(args.table, index[n], c);
      if (args.addend) value += load<A>(args.addend, n, c);
      store<A>(args.y, n, c, value);
    }
}

template <class A>
void embedding_bwd_reference(const EmbeddingBwdArgs& args) {
  const std::int64_t* index = args.index.data<std::int64_t>();  // [N]
  for (std::int64_t v = 0; v < args.dtable.rows(); ++v)
    for (std::int64_t c = 0; c < args.dtable.cols(); ++c) store<A>(args.dtable, v, c, A(0));
  for (std::int64_t n = 0; n < args.dy.rows(); ++n)
    for (std::int64_t c = 0; c < args.dy.cols(); ++c)
      store<A>(args.dtable, index[n], c,
               load<A>(args.dtable, index[n], c) + load<A>(args.dy, n, c));
}

/// e^x of a frequency. In f32 it is written out, because at t = 1000 the last bit of a frequency
/// moves the cosine by 1e-4, and a mathematical library's expf differs in that bit from the vector
/// code that PyTorch runs: n ln 2 + r taken apart, Taylor's series up to r^7, fused multiply-adds.
template <class A>
A frequency_exp(const A& x) {
  using std::exp;
  return exp(x);
}
inline float frequency_exp(float x) {
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = std::fma(n, -1.42860677e-6f, std::fma(n, -0.693145752f, x));
  float q = 1 / 5040.0f;
  for (const float c : {1 / 720.0f, 1 / 120.0f, 1 / 24.0f, 1 / 6.0f, 1 / 2.0f})
    q = std::fma(q, r, c);
  return std::ldexp(1.0f + std::fma(r * r, q, r), static_cast<int>(n));
}

/// The frequencies of y's columns, [dim / 2]. The product is rounded before the division, as in
/// PyTorch.
template <class A>
std::vector<A> timestep_frequencies(const TimestepEmbeddingArgs& args) {
  const std::int64_t half = args.y.cols() / 2;
  const A log_period = A(-std::log(args.max_period)), count = A(static_cast<double>(half));
  std::vector<A> frequency;
  for (std::int64_t i = 0; i < half; ++i)
    frequency.push_back(frequency_exp(log_period * A(static_cast<double>(i)) / count));
  return frequency;
}

template <class A>
void timestep_embedding_reference(const TimestepEmbeddingArgs& args) {
  using std::cos, std::sin;
  const std::int64_t dim = args.y.cols(), half = dim / 2;
  const std::vector<A> frequency = timestep_frequencies<A>(args);
  for (std::int64_t n = 0; n < args.y.rows(); ++n) {
    const A t = load<A>(args.t, 0, n);
    for (std::int64_t i = 0; i < half; ++i) {
      const A angle = t * frequency[static_cast<std::size_t>(i)];
      store<A>(args.y, n, i, cos(angle));
      store<A>(args.y, n, half + i, sin(angle));
    }
    if (dim % 2 == 1) store<A>(args.y, n, dim - 1, A(0));
  }
}

}  // namespace tiller
