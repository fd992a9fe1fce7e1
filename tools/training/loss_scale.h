#pragma once
// Half precision's gradients are kept from vanishing by a factor on the loss (Micikevicius et al.
// 2018, section 3.2).
#include <cstdint>

namespace tiller {

struct LossScaleOptions {
  bool enabled = false;  ///< false: the factor is 1, and an overflow is an error at once
  double lg_start = 20;  ///< binary logarithm of the first factor
  double growth = 1e-3;  ///< added to it by each good step
};

/// The dynamic factor: grows a little with every good step, halves with every overflow. It is
/// bounded on both sides: where even a factor of 1 overflows, the network is broken and no smaller
/// one will mend it.
class LossScale {
 public:
  explicit LossScale(const LossScaleOptions& options);
  bool enabled() const { return options_.enabled; }
  double lg() const { return lg_; }
  double factor() const;
  /// Tells how a step's gradients came out. Throws Error(failed) with a diagnosis where they
  /// overflowed and there is nothing left to lower.
  void update(bool finite, std::int64_t step);

  /// What a resumed training needs.
  struct State {
    double lg = 0;
    std::int64_t overflows = 0;  ///< in a row, up to now
  };
  State state() const { return {lg_, overflows_}; }
  void restore(const State& state);

  static constexpr double kLowest = 0, kHighest = 30;

 private:
  LossScaleOptions options_;
  double lg_;
  std::int64_t overflows_ = 0;
};

}  // namespace tiller
