#pragma once
// The reference rows of the elementwise operations, for the arithmetic types float, double and
// Counted: one element after the other, each operand in its own dtype.
#include "kernels/elementwise/elementwise.h"
#include "kernels/reference.h"

namespace tiller {

template <class A>
A apply(UnaryKind kind, const A& x, const A& a, const A& b) {
  using std::abs, std::cos, std::exp, std::log, std::sin, std::sqrt, std::tanh;
  switch (kind) {
    case UnaryKind::copy:
      return x;
    case UnaryKind::affine:
      return a * x + b;
    case UnaryKind::clamp:
      return x < a ? a : x > b ? b : x;  // NaN stays NaN
    case UnaryKind::silu:
      return x / (A(1) + exp(-x));
    case UnaryKind::exp:
      return exp(x);
    case UnaryKind::log:
      return log(x);
    case UnaryKind::sqrt:
      return sqrt(x);
    case UnaryKind::rsqrt:
      return A(1) / sqrt(x);
    case UnaryKind::square:
      return x * x;
    case UnaryKind::abs:
      return abs(x);
    case UnaryKind::sign:
      return x > A(0) ? A(1) : x < A(0) ? A(-1) : A(0);
    case UnaryKind::tanh:
      return tanh(x);
    case UnaryKind::sin:
      return sin(x);
    case UnaryKind::cos:
      return cos(x);
    case UnaryKind::reciprocal:
      return A(1) / x;
  }
  return x;
}

template <class A>
void unary_reference(const UnaryArgs& args) {
  const A a = args.a, b = args.b;
  for (std::int64_t r = 0; r < args.x.rows(); ++r)
    for (std::int64_t c = 0; c < args.x.cols(); ++c)
      store<A>(args.y, r, c, apply<A>(args.kind, load<A>(args.x, r, c), a, b));
}

template <class A>
void silu_bwd_reference(const SiluBwdArgs& args) {
  using std::exp;
  for (std::int64_t r = 0; r < args.x.rows(); ++r)
    for (std::int64_t c = 0; c < args.x.cols(); ++c) {
      const A x = load<A>(args.x, r, c);
      const A sigmoid = A(1) / (A(1) + exp(-x));
      const A slope = sigmoid * (A(1) + x * (A(1) - sigmoid));
      store<A>(args.dx, r, c, load<A>(args.dy, r, c) * slope);
    }
}

/// The element of a broadcast operand that meets element (r, c) of a tensor of `like`'s shape.
template <class A>
A load_broadcast(Broadcast broadcast, const Tensor& b, const Tensor& like, std::int64_t r,
                 std::int64_t c) {
  if (broadcast == Broadcast::none) return load<A>(b, r, c);
  if (broadcast == Broadcast::per_channel) return load<A>(b, 0, c);
  const std::int64_t per_sample = like.numel() / like.dim(0);
  const std::int64_t n = (r * like.cols() + c) / per_sample;
  return broadcast == Broadcast::per_sample ? load<A>(b, 0, n) : load<A>(b, n, c);
}

/// The larger or smaller of two; NaN if either is, as PyTorch.
template <class A>
A extreme(BinaryKind kind, const A& a, const A& b) {
  if (!(a == a)) return a;
  if (!(b == b)) return b;
  return (a > b) == (kind == BinaryKind::maximum) ? a : b;
}

template <class A>
A apply(BinaryKind kind, const A& a, const A& b) {
  switch (kind) {
    case BinaryKind::add:
      return a + b;
    case BinaryKind::mul:
      return a * b;
    case BinaryKind::div:
      return a / b;
    case BinaryKind::maximum:
    case BinaryKind::minimum:
      break;
  }
  return extreme<A>(kind, a, b);
}

template <class A>
void binary_reference(const BinaryArgs& args) {
  const A alpha = args.alpha, beta = args.beta;
  for (std::int64_t r = 0; r < args.a.rows(); ++r)
    for (std::int64_t c = 0; c < args.a.cols(); ++c) {
      A a = load<A>(args.a, r, c);
      A b = load_broadcast<A>(args.broadcast, args.b, args.a, r, c);
      if (args.alpha != 1) a *= alpha;
      if (args.beta != 1) b *= beta;
      store<A>(args.y, r, c, apply<A>(args.kind, a, b));
    }
}

template <class A>
void where_reference(const WhereArgs& args) {
  const Broadcast mask =
      args.mask.shape() == args.a.shape() ? Broadcast::none : Broadcast::per_sample;
  for (std::int64_t r = 0; r < args.a.rows(); ++r)
    for (std::int64_t c = 0; c < args.a.cols(); ++c) {
      const A a = load<A>(args.a, r, c), b = load<A>(args.b, r, c);
      store<A>(args.y, r, c, load_broadcast<A>(mask, args.mask, args.a, r, c) > A(0) ? a : b);
    }
}

}  // namespace tiller
