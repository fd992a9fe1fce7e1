#pragma once
// The learning rate of every step, as guided-diffusion's scripts lower it.
#include <algorithm>
#include <cstdint>

namespace tiller {

/// When a script lowers its rate: the same line, at two places in two loops.
enum class AnnealOrder : std::uint8_t {
  after_step,   ///< image_train: lr, lr, lr (1 - 1/N), lr (1 - 2/N), ...
  before_step,  ///< classifier_train: lr, lr (1 - 1/N), lr (1 - 2/N), ...
};

struct LearningRate {
  double base = 1e-4;
  std::int64_t anneal_steps = 0;  ///< N; 0: never lowered
  AnnealOrder order = AnnealOrder::after_step;
  std::int64_t warmup_steps = 0;  ///< raised linearly to the full rate over so many steps

  /// The rate with which step `step` (from 0) is taken; never below 0.
  double at(std::int64_t step) const {
    double rate = base;
    if (warmup_steps > 0)
      rate *= std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(warmup_steps));
    if (anneal_steps > 0) {
      const std::int64_t counted = order == AnnealOrder::after_step ? step - 1 : step;
      rate *= std::clamp(1.0 - static_cast<double>(counted) / static_cast<double>(anneal_steps),
                         0.0, 1.0);
    }
    return rate;
  }
  /// The rate that the script's optimizer holds when step `step` is done: what its files tell.
  double held_after(std::int64_t step) const {
    return at(order == AnnealOrder::after_step ? step + 1 : step);
  }
};

}  // namespace tiller
