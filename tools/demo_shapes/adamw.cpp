#include "tools/demo_shapes/adamw.h"

#include <algorithm>

#include "autograd/optimizer_ops.h"

namespace tiller::demo {

AdamW::AdamW(const ParameterList& parameters, const AdamWOptions& options) : options_(options) {
  for (const Parameter& parameter : parameters.all()) {
    const Tensor& p = parameter.value;
    p_.push_back(p);
    m_.push_back(Tensor::zeros(p.shape()));
    v_.push_back(Tensor::zeros(p.shape()));
    ema_.push_back(p.clone());
  }
}

void AdamW::watch(Tape& tape) const {
  for (const Tensor& p : p_) tape.watch(p);
}

void AdamW::step(const Gradients& gradients) {
  ++steps_;
  AdamWArgs args{.p = p_, .grad = {}, .m = m_, .v = v_};
  for (const Tensor& p : p_) {
    args.grad.push_back(gradients.of(p));
    TILLER_CHECK(args.grad.back(), "a parameter {} got no gradient", to_string(p));
  }
  const double warm = static_cast<double>(steps_) / static_cast<double>(options_.warmup + 1);
  args.lr = options_.lr * std::min(1.0, warm);
  args.weight_decay = options_.weight_decay;
  args.step = steps_;
  step_adamw(args);
  // The average of the first steps would be of the start: let it forget as fast as it has seen.
  const double seen = static_cast<double>(steps_);
  step_ema({.ema = ema_, .p = p_, .rate = std::min(options_.ema_rate, seen / (seen + 10))});
}

void AdamW::use_averages() const {
  for (std::size_t i = 0; i < p_.size(); ++i) {
    p_[i].copy_from(ema_[i]);
    p_[i].bump_version();
  }
}

}  // namespace tiller::demo
