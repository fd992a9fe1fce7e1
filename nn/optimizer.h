#pragma once
// Training's last third: gradients gathered per parameter, AdamW, and the moving average. A step is
//
//   ParameterGradients gradients(network.parameters());
//   backward_microbatches(gradients, batch, microbatch, loss);
//   optimizer.step(gradients, lr);
//   ema.update();
#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "autograd/tape.h"
#include "nn/scope.h"

namespace tiller {

/// A sink that adds up each parameter's gradients, in the order in which they come: over the uses
/// of a parameter, and over microbatches.
class ParameterGradients final : public GradientSink {
 public:
  explicit ParameterGradients(const ParameterList& parameters);
  void accept(const Leaf& leaf, const Tensor& gradient) override;
  /// Makes every parameter a leaf of `tape`.
  void watch(Tape& tape) const;
  /// In the list's order, each of its parameter's shape. Throws Error naming a parameter that no
  /// gradient reached.
  const std::vector<Tensor>& all() const;
  /// Norm over all of them, logged as grad_norm.
  double norm() const;
  void clear();

 private:
  using Place = std::pair<const Storage*, std::int64_t>;  // the storage and the offset in it
  std::vector<Parameter> parameters_;
  std::map<Place, std::size_t> index_;
  std::vector<Tensor> sums_;
};

/// The loss of samples [begin, end) of a batch, one value: recorded, so that it can be gone back.
using MicrobatchLoss = std::function<Var(std::int64_t begin, std::int64_t end)>;

/// Runs `loss` and its backward on up to `microbatch` samples at a time (all at once when it is not
/// positive), adding the gradients up in `gradients`. What a microbatch weighs is the loss's
/// affair: a mean times len/batch makes the result independent of the count; plain means add up, as
/// guided-diffusion's image_train does.
void backward_microbatches(ParameterGradients& gradients, std::int64_t batch,
                           std::int64_t microbatch, const MicrobatchLoss& loss);

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};

/// torch.optim.AdamW over a network's parameters (Loshchilov & Hutter 2019, Algorithm 2). Decay acts
/// on all of them.
class AdamW {
 public:
  explicit AdamW(const ParameterList& parameters, const AdamWOptions& options = {});
  /// One update, in place. `grad_scale` is multiplied onto the gradients first (loss scale, clipping).
  void step(const ParameterGradients& gradients, double lr, double grad_scale = 1);

  /// What a resumed training needs: updates made, and both moments in the list's order and layout.
  struct State {
    std::int64_t steps = 0;
    std::vector<Tensor> m, v;
  };
  const State& state() const { return state_; }
  void restore(State state);  ///< throws Error for other shapes

 private:
  AdamWOptions options_;
  std::vector<Tensor> parameters_;
  State state_;
};

/// Exponential moving average of a network's parameters. Starts as a copy.
class Ema {
 public:
  Ema(const ParameterList& parameters, double rate);
  /// ema = rate * ema + (1 - rate) * p, after an optimizer's step.
  void update();
  /// The same at another rate: a young average does well to forget its start faster.
  void update(double rate);
  double rate() const { return rate_; }
  /// The averages under the parameters' names: for state_dict(). The values are the average's own
  /// bytes.
  const ParameterList& parameters() const { return averages_; }

 private:
  double rate_;
  std::vector<Tensor> parameters_, values_;
  ParameterList averages_;
};

/// Norm over all parameters, logged as param_norm.
double parameter_norm(const ParameterList& parameters);

}  // namespace tiller
