#pragma once
// The reference rows of softmax and cross entropy: the readable specification, for every floating
// T.
#include <vector>

#include "kernels/reference.h"
#include "kernels/softmax/softmax.h"

namespace tiller {

/// Fills e with exp(x - max x) and returns their sum; the largest is subtracted so that nothing
/// overflows.
template <class T>
Acc<T> softmax_exponentials(const T* x, std::int64_t k, std::vector<Acc<T>>& e, Acc<T>& largest) {
  using A = Acc<T>;
  using std::exp;
  largest = static_cast<A>(x[0]);
  for (std::int64_t i = 1; i < k; ++i)
    if (const A v = static_cast<A>(x[i]); largest < v) largest = v;
  e.resize(static_cast<std::size_t>(k));
  A sum = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    A& ei = e[static_cast<std::size_t>(i)];
    ei = exp(static_cast<A>(x[i]) - largest);
    sum += ei;
  }
  return sum;
}

template <class T>
void softmax_fwd_reference(const SoftmaxFwdArgs& args) {
  using A = Acc<T>;
  using std::log;
  const std::int64_t k = args.x.cols();
  std::vector<A> e;
  for (std::int64_t m = 0; m < args.x.rows(); ++m) {
    const T* x = row_of<const T>(args.x, m);
    T* y = row_of<T>(args.y, m);
    A largest = 0;
    const A sum = softmax_exponentials<T>(x, k, e, largest);
    if (args.log) {
      const A lse = largest + log(sum);
      for (std::int64_t i = 0; i < k; ++i) y[i] = static_cast<T>(static_cast<A>(x[i]) - lse);
    } else {
      for (std::int64_t i = 0; i < k; ++i)
        y[i] = static_cast<T>(e[static_cast<std::size_t>(i)] / sum);
    }
  }
}

template <class T>
void softmax_bwd_reference(const SoftmaxBwdArgs& args) {
  using A = Acc<T>;
  using std::exp;
  const std::int64_t k = args.y.cols();
  for (std::int64_t m = 0; m < args.y.rows(); ++m) {
    const T* y = row_of<const T>(args.y, m);
    const T* dy = row_of<const T>(args.dy, m);
    T* dx = row_of<T>(args.dx, m);
    A sum = 0;
    if (args.log) {
      for (std::int64_t i = 0; i < k; ++i) sum += static_cast<A>(dy[i]);
      for (std::int64_t i = 0; i < k; ++i)
        dx[i] = static_cast<T>(static_cast<A>(dy[i]) - exp(static_cast<A>(y[i])) * sum);
    } else {
      for (std::int64_t i = 0; i < k; ++i) sum += static_cast<A>(dy[i]) * static_cast<A>(y[i]);
      for (std::int64_t i = 0; i < k; ++i)
        dx[i] = static_cast<T>(static_cast<A>(y[i]) * (static_cast<A>(dy[i]) - sum));
    }
  }
}

template <class T>
void cross_entropy_fwd_reference(const CrossEntropyFwdArgs& args) {
  using A = Acc<T>;
  using std::log;
  std::vector<A> e;
  for (std::int64_t m = 0; m < args.logits.rows(); ++m) {
    const T* x = row_of<const T>(args.logits, m);
    const std::int64_t label = args.labels.data<std::int64_t>()[m];
    A largest = 0;
    const A sum = softmax_exponentials<T>(x, args.logits.cols(), e, largest);
    static_cast<A*>(args.loss.raw())[m] = (largest + log(sum)) - static_cast<A>(x[label]);
  }
}

template <class T>
void cross_entropy_bwd_reference(const CrossEntropyBwdArgs& args) {
  using A = Acc<T>;
  const std::int64_t k = args.logits.cols();
  std::vector<A> e;
  for (std::int64_t m = 0; m < args.logits.rows(); ++m) {
    const T* x = row_of<const T>(args.logits, m);
    T* dx = row_of<T>(args.dlogits, m);
    const std::int64_t label = args.labels.data<std::int64_t>()[m];
    const A dloss = static_cast<const A*>(args.dloss.raw())[m];
    A largest = 0;
    const A sum = softmax_exponentials<T>(x, k, e, largest);
    for (std::int64_t i = 0; i < k; ++i) {
      A p = e[static_cast<std::size_t>(i)] / sum;
      if (i == label) p -= A(1);
      dx[i] = static_cast<T>(p * dloss);
    }
  }
}

}  // namespace tiller
