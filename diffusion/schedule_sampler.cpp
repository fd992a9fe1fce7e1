#include "diffusion/schedule_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/error.h"

namespace tiller {

void ScheduleSampler::update(std::span<const std::int64_t>, std::span<const double>) {}

DrawnSteps ScheduleSampler::sample(std::int64_t n, const RandomKey& key) const {
  std::vector<double> cumulative = weights();
  std::partial_sum(cumulative.begin(), cumulative.end(), cumulative.begin());
  std::vector<std::int64_t> steps;
  for (std::int64_t i = 0; i < n; ++i) {
    RandomKey own = key;
    own.sample += static_cast<std::uint32_t>(i);
    // Two words: the 24 bits of one are too coarse for the rarest of thousands of steps.
    float words[2];
    philox_uniform(own, 2, words);
    const double u =
        (static_cast<double>(words[0]) + std::ldexp(static_cast<double>(words[1]), -24)) *
        cumulative.back();
    const auto at = std::upper_bound(cumulative.begin(), cumulative.end() - 1, u);
    steps.push_back(at - cumulative.begin());
  }
  std::vector<float> weight;
  for (const double w : importance(steps)) weight.push_back(static_cast<float>(w));
  return {Tensor::from(steps, {n}), Tensor::from(weight, {n})};
}

std::vector<double> ScheduleSampler::importance(std::span<const std::int64_t> steps) const {
  const std::vector<double> w = weights();
  const double total = std::accumulate(w.begin(), w.end(), 0.0);
  std::vector<double> out;
  for (const std::int64_t step : steps) {
    TILLER_CHECK(step >= 0 && step < static_cast<std::int64_t>(w.size()),
                 "step {} is not in [0, {})", step, w.size());
    out.push_back(total / (static_cast<double>(w.size()) * w[static_cast<std::size_t>(step)]));
  }
  return out;
}

UniformSampler::UniformSampler(std::int64_t steps) : steps_(steps) {
  TILLER_CHECK(steps >= 1, "a schedule sampler needs at least one step, not {}", steps);
}

std::vector<double> UniformSampler::weights() const {
  return std::vector<double>(static_cast<std::size_t>(steps_), 1.0);
}

LossSecondMomentSampler::LossSecondMomentSampler(std::int64_t steps, std::int64_t history_per_term,
                                                 double uniform_probability)
    : steps_(steps), history_(history_per_term), uniform_(uniform_probability) {
  TILLER_CHECK(steps >= 1 && history_ >= 1,
               "a schedule sampler needs steps and a history, not {} and {}", steps, history_);
  TILLER_CHECK(uniform_ >= 0 && uniform_ <= 1, "the uniform part {} is not in [0, 1]", uniform_);
  state_.losses.resize(static_cast<std::size_t>(steps_ * history_));
  state_.counts.resize(static_cast<std::size_t>(steps_));
}

bool LossSecondMomentSampler::warmed_up() const {
  return std::all_of(state_.counts.begin(), state_.counts.end(),
                     [&](std::int64_t count) { return count == history_; });
}

std::vector<double> LossSecondMomentSampler::weights() const {
  const auto steps = static_cast<std::size_t>(steps_), history = static_cast<std::size_t>(history_);
  std::vector<double> w(steps, 1.0);
  if (!warmed_up()) return w;
  for (std::size_t t = 0; t < steps; ++t) {
    double sum = 0;
    for (std::size_t i = 0; i < history; ++i) {
      const double loss = state_.losses[t * history + i];
      sum += loss * loss;
    }
    w[t] = std::sqrt(sum / static_cast<double>(history));
  }
  const double total = std::accumulate(w.begin(), w.end(), 0.0);
  if (!(total > 0)) return std::vector<double>(steps, 1.0);  // every loss 0: nothing to choose by
  for (double& weight : w)
    weight = weight / total * (1 - uniform_) + uniform_ / static_cast<double>(steps_);
  return w;
}

void LossSecondMomentSampler::update(std::span<const std::int64_t> steps,
                                     std::span<const double> losses) {
  TILLER_CHECK(steps.size() == losses.size(), "{} steps, but {} losses", steps.size(),
               losses.size());
  for (std::size_t n = 0; n < steps.size(); ++n) {
    TILLER_CHECK(steps[n] >= 0 && steps[n] < steps_, "step {} is not in [0, {})", steps[n], steps_);
    if (!std::isfinite(losses[n])) continue;
    const auto begin = state_.losses.begin() + steps[n] * history_;
    std::int64_t& count = state_.counts[static_cast<std::size_t>(steps[n])];
    if (count == history_)
      std::rotate(begin, begin + 1, begin + history_);  // the oldest goes last, to be overwritten
    else
      ++count;
    begin[count - 1] = losses[n];
  }
}

void LossSecondMomentSampler::restore(State state) {
  TILLER_CHECK(
      state.losses.size() == state_.losses.size() && state.counts.size() == state_.counts.size(),
      "the saved history has {} losses of {} steps, where {} of {} are kept", state.losses.size(),
      state.counts.size(), state_.losses.size(), state_.counts.size());
  for (const std::int64_t count : state.counts)
    TILLER_CHECK(count >= 0 && count <= history_, "the saved history counts {} losses of {}", count,
                 history_);
  state_ = std::move(state);
}

std::unique_ptr<ScheduleSampler> named_schedule_sampler(const std::string& name,
                                                        std::int64_t steps) {
  if (name == "uniform") return std::make_unique<UniformSampler>(steps);
  if (name == "loss-second-moment") return std::make_unique<LossSecondMomentSampler>(steps);
  fail(
      ErrorKind::usage,
      fmt::format("--schedule_sampler \"{}\" is unknown: use uniform or loss-second-moment", name));
}

}  // namespace tiller
