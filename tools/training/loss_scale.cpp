#include "tools/training/loss_scale.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace tiller {

LossScale::LossScale(const LossScaleOptions& options)
    : options_(options), lg_(options.enabled ? options.lg_start : 0) {}

double LossScale::factor() const { return options_.enabled ? std::exp2(lg_) : 1; }

void LossScale::update(bool finite, std::int64_t step) {
  if (finite) {
    overflows_ = 0;
    if (options_.enabled) lg_ = std::min(lg_ + options_.growth, kHighest);
    return;
  }
  ++overflows_;
  TILLER_CHECK(options_.enabled,
               "the loss or its gradients are no longer finite at step {}: the training diverged. "
               "Go on from "
               "the last checkpoint (--resume auto) with a lower --lr, or with --grad_clip 1",
               step);
  TILLER_CHECK(lg_ - 1 >= kLowest,
               "the gradients overflow half precision at step {} whatever the loss scale ({} steps "
               "in a row, down to 2^{:g}): not the scale is wrong but the network has diverged. Go "
               "on from an older checkpoint (--resume FILE) with a lower --lr, with --grad_clip 1, "
               "or with --use_bf16 True instead of half precision",
               step, overflows_, lg_);
  lg_ -= 1;
}

void LossScale::restore(const State& state) {
  if (!options_.enabled) return;
  lg_ = state.lg;
  overflows_ = state.overflows;
}

}  // namespace tiller
