#pragma once
// The operations of the networks and samplers: the only door to the kernels. Each stands in its own
// file in autograd/ops/, forward and backward side by side. Without a tape they just compute.
#include <cstdint>

#include "autograd/tape.h"
#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resample/resample.h"
#include "kernels/sampler_step/sampler_step.h"
#include "runtime/random.h"

namespace tiller {

/// An activation that may carry the statistics a group norm wants: mean and sum of squared
/// deviations per sample and channel, [N,C,2] f32 (f64 with f64). No gradient flows through them
/// separately.
struct Activation {
  Var x;         // [N,H,W,C]
  Tensor stats;  // [N,C,2] or none
  Activation() = default;
  Activation(Var value, Tensor statistics = {})
      : x(std::move(value)), stats(std::move(statistics)) {}  // NOLINT
};

/// See kernels/conv2d/conv2d.h for what each part does.
struct ConvOptions {
  ConvGeometry geometry{};
  Var x1{};        // [N,H,W,C1] second source
  Var residual{};  // [N,P,Q,K] (or half of that size with residual_up2x)
  bool residual_up2x = false;
  Var skip0{},
      skip1{};         // [N,P,Q,C2], [N,P,Q,C3] operands of a 1x1 convolution into the same output
  Var skip_w{};        // [K,1,1,C2+C3]
  Var skip_bias{};     // [K]
  bool stats = false;  ///< also compute the output's statistics
};

/// Convolution. x [N,H,W,C0], w [K,R,S,C0+C1], bias [K] or none -> [N,P,Q,K]. For x's gradient
/// alone nothing but the weight is kept. A fusion that no fast row supports is lowered to plain
/// calls.
Activation conv2d(const Var& x, const Var& w, const Var& bias, const ConvOptions& options = {});

/// x [...,C], w [K,C], bias [K] or none, residual [...,K] or none -> [...,K]; silu_input as in
/// kernels/linear/linear.h.
Var linear(const Var& x, const Var& w, const Var& bias, const Var& residual = {},
           bool silu_input = false);

struct GroupNormOptions {
  int groups = 32;
  double eps = 1e-5;
  Var emb{};  // [N,2C] scale then shift, or none
  bool silu = false;
  bool pool = false;  ///< mean of 2x2 blocks after SiLU
};
/// Group norm over one source, or over two as if they were concatenated. gamma, beta [C0+C1].
Var group_norm(const Activation& x, const Var& gamma, const Var& beta,
               const GroupNormOptions& options = {});
Var group_norm(const Activation& x0, const Activation& x1, const Var& gamma, const Var& beta,
               const GroupNormOptions& options = {});

/// linear(group_norm(x)): x [N,...,C], gamma, beta [C], w [K,C], bias [K] or none -> [N,...,K]. One
/// call where fuses_norm(), else the two. Throws Error for options with emb, SiLU or pool.
Var normed_linear(const Activation& x, const Var& gamma, const Var& beta, const Var& w,
                  const Var& bias, const GroupNormOptions& options = {});
/// Whether that is one call: x's statistics are ready, a fast row passes x through the norm on its
/// way into the product, and no parameter needs a gradient, which would want the normed x.
bool fuses_norm(const Activation& x, const Var& gamma, const Var& beta, const Var& w,
                const Var& bias, const GroupNormOptions& options = {});

/// Self-attention: qkv [N,T,3C] -> [N,T,C], or [N,1,C] with one_query.
Var attention(const Var& qkv, std::int64_t heads, QkvOrder order, bool one_query = false);

/// [N,T,C], pos [1+T,C] -> [N,1+T,C].
Var pool_tokens(const Var& x, const Var& pos);

Var silu(const Var& x);
Var cast(const Var& x, DType dtype);           ///< the same handle when it has the dtype already
Var affine(const Var& x, double a, double b);  ///< a x + b
Var clamp(const Var& x, double low, double high);
Var exp(const Var& x);
Var log(const Var& x);
Var sqrt(const Var& x);
Var square(const Var& x);
Var abs(const Var& x);
Var tanh(const Var& x);

/// b may have a's shape, or broadcast: [N] per sample, [C] per channel, [N,C] per sample and
/// channel.
Var add(const Var& a, const Var& b, double alpha = 1, double beta = 1,
        Broadcast broadcast = Broadcast::none);  ///< alpha a + beta b
Var sub(const Var& a, const Var& b, Broadcast broadcast = Broadcast::none);
Var mul(const Var& a, const Var& b, Broadcast broadcast = Broadcast::none);
Var div(const Var& a, const Var& b, Broadcast broadcast = Broadcast::none);
Var maximum(const Var& a, const Var& b);
Var minimum(const Var& a, const Var& b);
/// mask > 0 ? a : b; mask [N] or a's shape, no gradient through it.
Var where(const Tensor& mask, const Var& a, const Var& b);

/// Concatenation along channels, as a copy. (Convolutions and group norms take two sources
/// instead.)
Var concat(const Var& a, const Var& b);
/// Channels [begin, end), as a view.
Var channels(const Var& x, std::int64_t begin, std::int64_t end);
Var reshape(const Var& x, const Shape& shape);

Var upsample2x(const Var& x);
Var mean_pool2x2(const Var& x);
Var resize_bilinear(const Var& x, std::int64_t height, std::int64_t width);
Var resize_area(const Var& x, std::int64_t height, std::int64_t width);

Var reduce_sum(const Var& x, ReduceOver over = ReduceOver::all);
Var reduce_mean(const Var& x, ReduceOver over = ReduceOver::all);
/// Maximum, not differentiable. Throws when x needs a gradient.
Tensor reduce_max(const Tensor& x, ReduceOver over);

Var softmax(const Var& x);
Var log_softmax(const Var& x);
/// logits [M,K], labels [M] i64 -> [M]: -log p(label). Throws Error for a label outside [0, K).
Var cross_entropy(const Var& logits, const Tensor& labels);
/// d sum_n log p(labels[n]) / d logits [N,K], with p = softmax(logits): one-hot minus p. Where a
/// backward that guides begins, without a forward of the loss. Records nothing.
Tensor log_likelihood_gradient(const Tensor& logits, const Tensor& labels);

/// table [V,C], index [N] i64, addend [N,C] or none -> [N,C]. Throws Error for an index outside [0,
/// V).
Var embedding(const Var& table, const Tensor& index, const Var& addend = {});
/// t [N] (f32, or f64 with f64) -> [N,dim].
Tensor timestep_embedding(const Tensor& t, std::int64_t dim, double max_period = 10000);

/// Identity for p == 0. See kernels/dropout/dropout.h.
Var dropout(const Var& x, double p, const RandomKey& key, std::uint32_t layer);

/// One fused sampling step, in place of its arguments' outputs: kernels/sampler_step/sampler_step.h.
/// No gradient.
void step_sampler(const SamplerStepArgs& args);

/// A tensor full of one value.
Tensor fill(const Shape& shape, DType dtype, Device device, double value);

}  // namespace tiller
