#pragma once
#include <cstdint>
#include <vector>

#include "autograd/tape.h"
#include "nn/scope.h"

namespace tiller::demo {

struct AdamWOptions {
  double lr = 1e-3;
  double weight_decay = 0;
  double ema_rate = 0.995;
  std::int64_t warmup = 20;  ///< steps over which lr grows from 0
};

/// AdamW (Loshchilov & Hutter 2019) over a network's parameters, and the moving average of their
/// values, which samples better than the last values do (Ho et al. 2020, appendix B).
class AdamW {
 public:
  AdamW(const ParameterList& parameters, const AdamWOptions& options);
  /// Makes every parameter a leaf of `tape`.
  void watch(Tape& tape) const;
  /// One update. Throws Error when a parameter has no gradient.
  void step(const Gradients& gradients);
  /// Writes the averages into the parameters: the end of training.
  void use_averages() const;

 private:
  AdamWOptions options_;
  std::vector<Tensor> p_, m_, v_, ema_;
  std::int64_t steps_ = 0;
};

}  // namespace tiller::demo
