#include "diffusion/losses.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tiller {

namespace {

// The mean over everything but the batch.
Var mean_flat(const Var& x) { return reduce_mean(x, ReduceOver::features); }

Var bits(const Var& nats) { return affine(nats, 1 / std::numbers::ln2, 0); }

// 0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
Var approx_standard_normal_cdf(const Var& x) {
  const Var inner = add(x, mul(square(x), x), 1, 0.044715);
  return affine(tanh(affine(inner, std::sqrt(2 / std::numbers::pi), 0)), 0.5, 0.5);
}

Var log_clamped(const Var& p) { return log(clamp(p, 1e-12, INFINITY)); }

bool learned(VarianceType type) {
  return type == VarianceType::learned || type == VarianceType::learned_range;
}

}  // namespace

Var normal_kl(const Var& mean1, const Var& log_variance1, const Var& mean2,
              const Var& log_variance2) {
  const Var ratio = sub(log_variance1, log_variance2);
  const Var distance = mul(square(sub(mean1, mean2)), exp(affine(log_variance2, -1, 0)));
  // 0.5 (-1 + lv2 - lv1 + exp(lv1 - lv2) + (m1 - m2)^2 exp(-lv2)), summed in this order: near equal
  // distributions -1 and exp cancel first, and a small distance survives.
  return affine(add(add(affine(ratio, -1, -1), exp(ratio)), distance), 0.5, 0);
}

Var discretized_gaussian_log_likelihood(const Var& x, const Var& mean, const Var& log_scale) {
  const Var centered = sub(x, mean);
  const Var inverse = exp(affine(log_scale, -1, 0));
  const Var above = approx_standard_normal_cdf(mul(inverse, affine(centered, 1, 1.0 / 255)));
  const Var below = approx_standard_normal_cdf(mul(inverse, affine(centered, 1, -1.0 / 255)));
  const Var log_first = log_clamped(above);
  const Var log_last = log_clamped(affine(below, -1, 1));
  const Var log_between = log_clamped(sub(above, below));
  const Tensor is_first = affine(x.value(), -1, -0.999).value();  // > 0 where x < -0.999
  const Tensor is_last = affine(x.value(), 1, -0.999).value();    // > 0 where x > 0.999
  return where(is_first, log_first, where(is_last, log_last, log_between));
}

BoundTerm variational_bound_term(const GaussianDiffusion& diffusion, const Var& model_output,
                                 const Var& x_start, const Var& x_t, const Tensor& step,
                                 bool clip) {
  const Var true_mean = diffusion.q_posterior_mean(x_start, x_t, step);
  const Tensor log_variance =
      diffusion.extract(diffusion.coefficients().posterior_log_variance_clipped, step, x_t.value());
  const Var true_log_variance = add(fill(x_t.shape(), x_t.dtype(), x_t.device(), 0.0), log_variance,
                                    1, 1, Broadcast::per_sample);
  const Prediction p = diffusion.p_mean_variance(model_output, x_t, step, clip);
  const Var kl = bits(mean_flat(normal_kl(true_mean, true_log_variance, p.mean, p.log_variance)));
  const Var likelihood =
      discretized_gaussian_log_likelihood(x_start, p.mean, affine(p.log_variance, 0.5, 0));
  const Var decoder = bits(mean_flat(affine(likelihood, -1, 0)));
  // Step 0 is the decoder's: -log p(x_0 | x_1). Elsewhere the KL.
  std::vector<float> later;
  for (const std::int64_t s : step.to_vector<std::int64_t>()) later.push_back(s > 0 ? 1.0f : 0.0f);
  return {where(Tensor::from(later, step.shape(), x_t.device()), kl, decoder), p.x_start};
}

Tensor snr_weights(const GaussianDiffusion& diffusion, const Tensor& step, const SnrClamp& clamp,
                   const Tensor& like) {
  const MeanKind mean = diffusion.config().mean;
  if (mean == MeanKind::previous_x)
    fail(ErrorKind::usage,
         "weights by SNR are of errors of x_0 or the noise, not of the previous x");
  std::vector<double> weights;
  for (const double abar : diffusion.coefficients().alphas_cumprod) {
    const double snr = abar / (1 - abar), clamped = std::clamp(snr, clamp.low, clamp.high);
    weights.push_back(mean == MeanKind::epsilon ? clamped / snr : clamped);
  }
  return diffusion.extract(weights, step, like);
}

TrainingLosses training_losses(const GaussianDiffusion& diffusion, const Model& model,
                               const Var& x_start, const Tensor& step, const Tensor& noise,
                               const std::optional<SnrClamp>& weighting) {
  const DiffusionConfig& config = diffusion.config();
  const Var x_t = diffusion.q_sample(x_start, step, noise);
  const Var output = model(x_t, diffusion.timesteps(step));
  TrainingLosses terms;
  if (config.loss == LossType::kl || config.loss == LossType::rescaled_kl) {
    if (weighting)
      fail(ErrorKind::usage,
           "weights by SNR are of squared errors; the variational bound has its own");
    terms.loss = variational_bound_term(diffusion, output, x_start, x_t, step, false).bits;
    if (config.loss == LossType::rescaled_kl)
      terms.loss = affine(terms.loss, static_cast<double>(diffusion.steps()), 0);
    return terms;
  }
  const std::int64_t c = x_t.value().cols();
  Var predicted = output;
  if (learned(config.variance)) {
    predicted = channels(output, 0, c);
    // The bound trains the variance; the mean enters detached, as a constant.
    const Var frozen = concat(Var(predicted.value()), channels(output, c, 2 * c));
    terms.vb = variational_bound_term(diffusion, frozen, x_start, x_t, step, false).bits;
    if (config.loss == LossType::rescaled_mse)
      terms.vb = affine(terms.vb, static_cast<double>(diffusion.steps()) / 1000.0, 0);
  }
  Var target = noise;
  if (config.mean == MeanKind::x_start) target = x_start;
  if (config.mean == MeanKind::previous_x) target = diffusion.q_posterior_mean(x_start, x_t, step);
  terms.mse = mean_flat(square(sub(target, predicted)));
  terms.loss = terms.mse;
  if (weighting)
    terms.loss = mul(terms.mse, snr_weights(diffusion, step, *weighting, terms.mse.value()));
  if (terms.vb) terms.loss = add(terms.loss, terms.vb);
  return terms;
}

BitsPerDimension bits_per_dimension(
    const GaussianDiffusion& diffusion, const Model& model, const Tensor& x_start, bool clip,
    const std::function<Tensor(std::int64_t, const Shape&)>& noise) {
  const NoGrad no_recording;
  const std::int64_t n = x_start.dim(0), steps = diffusion.steps();
  std::vector<float> vb(static_cast<std::size_t>(n * steps)), x_start_mse = vb, mse = vb;
  const auto put = [&](std::vector<float>& table, std::int64_t column, const Var& values) {
    const std::vector<float> column_values = values.value().to_vector<float>();
    for (std::int64_t i = 0; i < n; ++i)
      table[static_cast<std::size_t>(i * steps + column)] =
          column_values[static_cast<std::size_t>(i)];
  };
  for (std::int64_t column = 0; column < steps; ++column) {
    const StepScope step_scope(column);
    const Tensor step = same_step(steps - 1 - column, n, x_start.device());
    const Tensor epsilon = noise(column, x_start.shape());
    const Var x_t = diffusion.q_sample(x_start, step, epsilon);
    const Var output = model(x_t, diffusion.timesteps(step));
    const BoundTerm term = variational_bound_term(diffusion, output, x_start, x_t, step, clip);
    put(vb, column, term.bits);
    put(x_start_mse, column, mean_flat(square(sub(term.x_start, x_start))));
    const Var again = diffusion.predict_epsilon_from_x_start(x_t, step, term.x_start);
    put(mse, column, mean_flat(square(sub(again, epsilon))));
  }
  // KL(q(x_T | x_0) || N(0, 1)): what the prior costs, whatever the network.
  const Tensor last = same_step(steps - 1, n, x_start.device());
  const Coefficients& k = diffusion.coefficients();
  const Tensor zero = fill(x_start.shape(), x_start.dtype(), x_start.device(), 0.0);
  const Var q_mean =
      mul(x_start, diffusion.extract(k.sqrt_alphas_cumprod, last, x_start), Broadcast::per_sample);
  const Var q_log_variance =
      add(zero, diffusion.extract(k.log_one_minus_alphas_cumprod, last, x_start), 1, 1,
          Broadcast::per_sample);
  BitsPerDimension out;
  out.prior = bits(mean_flat(normal_kl(q_mean, q_log_variance, zero, zero))).value();
  out.vb = Tensor::from(vb, {n, steps});
  out.x_start_mse = Tensor::from(x_start_mse, {n, steps});
  out.mse = Tensor::from(mse, {n, steps});
  out.total = add(reduce_sum(out.vb, ReduceOver::last), out.prior.to(kCpu)).value();
  return out;
}

}  // namespace tiller
