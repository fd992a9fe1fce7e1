#pragma once
// Which steps training looks at: t ~ p, and the weight 1 / (T p_t) that keeps the loss unbiased.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/random.h"

namespace tiller {

/// Steps drawn for a batch.
struct DrawnSteps {
  Tensor step;    // [N] i64, in [0, T)
  Tensor weight;  // [N] f32: 1 / (T p_step), to be multiplied with the losses
};

class ScheduleSampler {
 public:
  virtual ~ScheduleSampler() = default;
  /// How much each step is wanted, [T], all positive; p is this over its sum.
  virtual std::vector<double> weights() const = 0;
  /// Tells what a batch's losses were: `losses`[n] at `steps`[n], in the batch's order.
  virtual void update(std::span<const std::int64_t> steps, std::span<const double> losses);

  /// Sample n's step comes from key.sample + n: the same for any batch size.
  DrawnSteps sample(std::int64_t n, const RandomKey& key) const;
  /// 1 / (T p_t) of each of `steps`.
  std::vector<double> importance(std::span<const std::int64_t> steps) const;
};

/// Every step alike.
class UniformSampler final : public ScheduleSampler {
 public:
  explicit UniformSampler(std::int64_t steps);
  std::vector<double> weights() const override;

 private:
  std::int64_t steps_;
};

/// p_t in proportion to sqrt(E[L_t^2]) over each step's latest losses (Nichol & Dhariwal 2021,
/// section 3.3), mixed with a little of the uniform distribution. Uniform until every step has a
/// full history. A loss that is not finite (an overflowed step's) is left out.
class LossSecondMomentSampler final : public ScheduleSampler {
 public:
  explicit LossSecondMomentSampler(std::int64_t steps, std::int64_t history_per_term = 10,
                                   double uniform_probability = 0.001);
  std::vector<double> weights() const override;
  void update(std::span<const std::int64_t> steps, std::span<const double> losses) override;
  bool warmed_up() const;

  /// What a resumed training needs: [T * history] losses, oldest first, and how many of each step's
  /// are filled, [T].
  struct State {
    std::vector<double> losses;
    std::vector<std::int64_t> counts;
  };
  const State& state() const { return state_; }
  void restore(State state);  ///< throws Error for another T or history

 private:
  std::int64_t steps_, history_;
  double uniform_;
  State state_;
};

/// guided-diffusion's --schedule_sampler: "uniform" or "loss-second-moment". Throws Error(usage).
std::unique_ptr<ScheduleSampler> named_schedule_sampler(const std::string& name,
                                                        std::int64_t steps);

}  // namespace tiller
