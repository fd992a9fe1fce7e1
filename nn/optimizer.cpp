#include "nn/optimizer.h"

#include <algorithm>

#include "autograd/ops.h"
#include "autograd/optimizer_ops.h"

namespace tiller {

namespace {

std::vector<Tensor> values_of(const ParameterList& parameters) {
  std::vector<Tensor> values;
  for (const Parameter& p : parameters.all()) values.push_back(p.value);
  return values;
}

}  // namespace

ParameterGradients::ParameterGradients(const ParameterList& parameters)
    : parameters_(parameters.all()), sums_(parameters_.size()) {
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    index_[{parameters_[i].value.storage().get(), parameters_[i].value.offset()}] = i;
}

void ParameterGradients::accept(const Leaf& leaf, const Tensor& gradient) {
  const auto found = index_.find({leaf.value.storage().get(), leaf.value.offset()});
  if (found == index_.end()) return;  // some other leaf of the tape, say the picture
  const NoGrad no_recording;
  Tensor& sum = sums_[found->second];
  sum = sum.defined() ? add(sum, gradient).value() : gradient;
}

void ParameterGradients::watch(Tape& tape) const {
  for (const Parameter& p : parameters_) tape.watch(p.value, p.key);
}

const std::vector<Tensor>& ParameterGradients::all() const {
  for (std::size_t i = 0; i < sums_.size(); ++i)
    TILLER_CHECK(sums_[i].defined(), "no gradient reached {}: does the loss depend on it?",
                 parameters_[i].key);
  return sums_;
}

double ParameterGradients::norm() const { return norm_of(all()).value; }

void ParameterGradients::clear() { std::fill(sums_.begin(), sums_.end(), Tensor()); }

void backward_microbatches(ParameterGradients& gradients, std::int64_t batch,
                           std::int64_t microbatch, const MicrobatchLoss& loss) {
  const std::int64_t size = microbatch > 0 ? microbatch : batch;
  for (std::int64_t begin = 0; begin < batch; begin += size) {
    Tape tape;
    gradients.watch(tape);
    const TapeGuard recording(tape);
    const Var value = loss(begin, std::min(begin + size, batch));
    TILLER_CHECK(value.defined() && value.value().numel() == 1,
                 "a microbatch's loss is one value, not {}", to_string(value.value()));
    tape.backward(value, {}, gradients);
  }
}

AdamW::AdamW(const ParameterList& parameters, const AdamWOptions& options)
    : options_(options), parameters_(values_of(parameters)) {
  for (const Tensor& p : parameters_) {
    state_.m.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
    state_.v.push_back(Tensor::zeros(p.shape(), p.dtype(), p.device()));
  }
}

void AdamW::step(const ParameterGradients& gradients, double lr, double grad_scale) {
  const std::vector<Tensor>& all = gradients.all();  // complete, or nothing moves
  ++state_.steps;
  step_adamw({.p = parameters_,
              .grad = all,
              .m = state_.m,
              .v = state_.v,
              .lr = lr,
              .beta1 = options_.beta1,
              .beta2 = options_.beta2,
              .eps = options_.eps,
              .weight_decay = options_.weight_decay,
              .grad_scale = grad_scale,
              .step = state_.steps});
}

void AdamW::restore(State state) {
  TILLER_CHECK(state.m.size() == parameters_.size() && state.v.size() == parameters_.size(),
               "the saved optimizer has moments of {} parameters, the network has {}",
               state.m.size(), parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    TILLER_CHECK(state.m[i].shape() == parameters_[i].shape() &&
                     state.v[i].shape() == parameters_[i].shape(),
                 "the saved moments of parameter {} are {} and {}, the parameter is {}", i,
                 to_string(state.m[i]), to_string(state.v[i]), to_string(parameters_[i]));
  state_ = std::move(state);
}

Ema::Ema(const ParameterList& parameters, double rate)
    : rate_(rate), parameters_(values_of(parameters)) {
  TILLER_CHECK(rate >= 0 && rate <= 1, "an EMA's rate lies in [0, 1], not at {}", rate);
  for (Parameter p : parameters.all()) {
    p.value = p.value.clone();
    values_.push_back(p.value);
    averages_.add(std::move(p));
  }
}

void Ema::update() { update(rate_); }

void Ema::update(double rate) { step_ema({.ema = values_, .p = parameters_, .rate = rate}); }

double parameter_norm(const ParameterList& parameters) {
  return norm_of(values_of(parameters)).value;
}

}  // namespace tiller
