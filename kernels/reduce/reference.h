#pragma once
// The reference rows of reductions, for the arithmetic types float, double and Counted.
#include <vector>

#include "kernels/reduce/view.h"
#include "kernels/reference.h"

namespace tiller {

/// Element `flat` of a tensor in row order.
template <class A>
A load_flat(const Tensor& t, std::int64_t flat) {
  return load<A>(t, flat / t.cols(), flat % t.cols());
}
template <class A>
void store_flat(const Tensor& t, std::int64_t flat, const A& value) {
  store<A>(t, flat / t.cols(), flat % t.cols(), value);
}

/// Sum of term(begin) ... term(end - 1): blocks one by one, then the blocks' sums pairwise. The
/// order is fixed, and rounding errors grow with the logarithm of the count.
template <class A, class Term>
A sum_in_order(std::int64_t begin, std::int64_t end, const Term& term) {
  constexpr std::int64_t kBlock = 256;
  if (begin == end) return A(0);
  if (end - begin <= kBlock) {
    A sum = term(begin);
    for (std::int64_t i = begin + 1; i < end; ++i) sum += term(i);
    return sum;
  }
  std::int64_t half = kBlock;
  while (2 * half < end - begin) half *= 2;
  const A left = sum_in_order<A>(begin, begin + half, term);
  return left + sum_in_order<A>(begin + half, end, term);
}

template <class A>
A reduce_term(ReduceKind kind, const A& x) {
  using std::abs;
  switch (kind) {
    case ReduceKind::sum_squares:
    case ReduceKind::mean_squares:
      return x * x;
    case ReduceKind::sum_abs:
      return abs(x);
    default:
      return x;
  }
}

template <class A>
void reduce_reference(const ReduceArgs& args) {
  const ReduceView v = reduce_view(args.over, args.x.shape());
  for (std::int64_t o = 0; o < v.outer; ++o)
    for (std::int64_t i = 0; i < v.inner; ++i) {
      const auto term = [&](std::int64_t m) {
        return reduce_term<A>(args.kind, load_flat<A>(args.x, (o * v.summed + m) * v.inner + i));
      };
      A result = A(0);
      if (args.kind == ReduceKind::max) {
        result = term(0);
        for (std::int64_t m = 1; m < v.summed; ++m) {
          const A value = term(m);
          if (value > result || !(value == value)) result = value;  // NaN wins, as in PyTorch
        }
      } else {
        result = sum_in_order<A>(0, v.summed, term);
        if (args.kind == ReduceKind::mean || args.kind == ReduceKind::mean_squares)
          result /= A(static_cast<double>(v.summed));
      }
      store_flat<A>(args.y, o * v.inner + i, result);
    }
}

template <class A>
void broadcast_to_reference(const BroadcastToArgs& args) {
  const ReduceView v = reduce_view(args.over, args.y.shape());
  const A scale = args.scale;
  for (std::int64_t o = 0; o < v.outer; ++o)
    for (std::int64_t m = 0; m < v.summed; ++m)
      for (std::int64_t i = 0; i < v.inner; ++i) {
        A value = load_flat<A>(args.x, o * v.inner + i);
        if (args.scale != 1) value *= scale;
        store_flat<A>(args.y, (o * v.summed + m) * v.inner + i, value);
      }
}

}  // namespace tiller
