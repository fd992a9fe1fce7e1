#include "tools/training/trainer.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "autograd/optimizer_ops.h"
#include "runtime/trace.h"

namespace tiller {

Trainer::Trainer(const ParameterList& parameters, const TrainerOptions& options)
    : parameters_(parameters),
      options_(options),
      gradients_(parameters),
      optimizer_(parameters, {.weight_decay = options.weight_decay}),
      loss_scale_(options.loss_scale) {
  for (const double rate : options.ema_rates) averages_.push_back({Ema(parameters, rate), 0});
}

bool Trainer::step(std::int64_t step, std::int64_t batch, const MicrobatchLoss& mean_loss,
                   LogMeans& log) {
  gradients_.clear();
  loss_is_finite_ = true;
  backward_microbatches(
      gradients_, batch, options_.microbatch, [&](std::int64_t begin, std::int64_t end) {
        const double share = options_.sum_microbatches
                                 ? 1
                                 : static_cast<double>(end - begin) / static_cast<double>(batch);
        const Var loss = mean_loss(begin, end);
        // An infinite loss may have finite gradients.
        loss_is_finite_ = loss_is_finite_ && norm_of({loss.value()}).finite;
        const double factor = share * loss_scale_.factor();
        return factor == 1 ? loss : affine(loss, factor, 0);
      });
  return apply(step, gradients_, log);
}

bool Trainer::apply(std::int64_t step, const ParameterGradients& gradients, LogMeans& log) {
  const PhaseScope phase("optimizer");
  if (loss_scale_.enabled()) log.add("lg_loss_scale", loss_scale_.lg());
  double unscale = 1 / loss_scale_.factor();
  const GlobalNorm norm = norm_of(gradients.all(), unscale);
  if (!loss_is_finite_ || !norm.finite || !std::isfinite(norm.value)) {
    loss_scale_.update(false, step);
    return false;
  }
  log.add("grad_norm", norm.value);
  log.add("param_norm", parameter_norm(parameters_));
  if (options_.grad_clip > 0 && norm.value > options_.grad_clip)
    unscale *= options_.grad_clip / norm.value;
  optimizer_.step(gradients, options_.rate.at(step), unscale);
  for (Average& average : averages_) {
    const auto n = static_cast<double>(average.updates++);
    const double rate = average.ema.rate();
    average.ema.update(options_.ema_warmup ? std::min(rate, (1 + n) / (10 + n)) : rate);
  }
  loss_scale_.update(true, step);
  return true;
}

}  // namespace tiller
