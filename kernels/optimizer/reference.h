#pragma once
// The reference rows of what training does to all parameters, for the storage types float, double
// and Counted (the norm and the scaling also for f16 and bf16).
#include <vector>

#include "kernels/optimizer/optimizer.h"
#include "kernels/reference.h"

namespace tiller {

/// AdamW's constants of one update, in the order in which an element meets them.
struct AdamWScalars {
  double grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, root_correction2, eps,
      step_size;
  explicit AdamWScalars(const AdamWArgs& args)
      : grad_scale(args.grad_scale),
        decay(1 - args.lr * args.weight_decay),
        beta1(args.beta1),
        one_minus_beta1(1 - args.beta1),
        beta2(args.beta2),
        one_minus_beta2(1 - args.beta2),
        root_correction2(std::sqrt(1 - std::pow(args.beta2, static_cast<double>(args.step)))),
        eps(args.eps),
        step_size(args.lr / (1 - std::pow(args.beta1, static_cast<double>(args.step)))) {}
};

template <class T>
void adamw_reference(const AdamWArgs& args) {
  using A = Acc<T>;
  using std::sqrt;
  const AdamWScalars s(args);
  for (std::size_t i = 0; i < args.p.size(); ++i)
    for (std::int64_t r = 0; r < args.p[i].rows(); ++r) {
      T* p = row_of<T>(args.p[i], r);
      const T* grad = row_of<const T>(args.grad[i], r);
      T* m = row_of<T>(args.m[i], r);
      T* v = row_of<T>(args.v[i], r);
      for (std::int64_t c = 0; c < args.p[i].cols(); ++c) {
        const A g = A(s.grad_scale) * grad[c];
        m[c] = A(s.beta1) * m[c] + A(s.one_minus_beta1) * g;
        v[c] = A(s.beta2) * v[c] + A(s.one_minus_beta2) * (g * g);
        const A denominator = sqrt(v[c]) / A(s.root_correction2) + A(s.eps);
        p[c] = A(s.decay) * p[c] - A(s.step_size) * (m[c] / denominator);
      }
    }
}

template <class T>
void ema_reference(const EmaArgs& args) {
  using A = Acc<T>;
  for (std::size_t i = 0; i < args.ema.size(); ++i)
    for (std::int64_t r = 0; r < args.ema[i].rows(); ++r) {
      T* ema = row_of<T>(args.ema[i], r);
      const T* p = row_of<const T>(args.p[i], r);
      for (std::int64_t c = 0; c < args.ema[i].cols(); ++c)
        ema[c] = A(args.rate) * ema[c] + A(1 - args.rate) * p[c];
    }
}

/// A is double or Counted. Blocks of each tensor one by one, then all blocks' sums pairwise.
template <class A>
void norm_reference(const NormArgs& args) {
  using std::sqrt;
  constexpr std::int64_t kBlock = 4096;
  std::vector<A> sums;  // one per block, over all tensors
  bool finite = true;
  for (const Tensor& x : args.x)
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      const A value = A(args.scale) * load<A>(x, i / x.cols(), i % x.cols());
      finite = finite && std::isfinite(static_cast<double>(value));
      const A square = value * value;
      if (i % kBlock == 0)
        sums.push_back(square);
      else
        sums.back() += square;
    }
  for (std::size_t width = 1; width < sums.size(); width *= 2)
    for (std::size_t i = 0; i + width < sums.size(); i += 2 * width) sums[i] += sums[i + width];
  auto* out = static_cast<A*>(args.out.raw());  // [2]
  out[0] = sqrt(sums.empty() ? A(0) : sums[0]);
  out[1] = finite ? A(0) : A(1);
}

template <class T>
void scale_all_reference(const ScaleAllArgs& args) {
  using A = Acc<T>;
  for (const Tensor& x : args.x)
    for (std::int64_t r = 0; r < x.rows(); ++r) {
      T* row = row_of<T>(x, r);
      for (std::int64_t c = 0; c < x.cols(); ++c)
        row[c] = static_cast<T>(static_cast<A>(row[c]) * A(args.scale));
    }
}

}  // namespace tiller
