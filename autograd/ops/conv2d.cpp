// Convolution. The lesson of this file: the gradient with respect to the input needs the weight and
// nothing else, so a network that is only differentiated by its input keeps no activation here.
#include "autograd/ops.h"
#include "autograd/ops/compute.h"
#include "autograd/ops/conv_lowering.h"

namespace tiller {

namespace {

enum Input { kX0, kX1, kW, kBias, kResidual, kSkip0, kSkip1, kSkipW, kSkipBias };

// The fused call where a fast row has it, else plain calls. f64 has reference rows only.
template <class Args>
ConvLowering lowering_for(const Op<Args>& op, const Args& args) {
  if (args.dtype() == DType::f64) return {};
  return choose_lowering(args, [&op](const Args& a) { return is_fast(op, a); });
}

template <class Args>
void check_and_run(const Op<Args>& op, const Args& args) {
  check(args);
  run_lowered(args, lowering_for(op, args));
}

struct Sources {
  Tensor first, second;
};

// d(sources) of one convolution; the second is none when the forward had one source.
Sources dgrad(const Tensor& dy, const Tensor& w, const Shape& first, const Shape& second,
              const ConvGeometry& geometry) {
  Conv2dDgradArgs args{dy, w, {}, {}, geometry};
  args.dx0 = Tensor::empty(first, dy.dtype(), dy.device());
  if (second.rank()) args.dx1 = Tensor::empty(second, dy.dtype(), dy.device());
  check_and_run(conv2d_dgrad, args);
  return {args.dx0, args.dx1};
}

struct Parameters {
  Tensor w, bias;
};

// d(weight), and d(bias) when it is asked for.
Parameters wgrad(const Tensor& x0, const Tensor& x1, const Tensor& dy, const Shape& w, bool bias,
                 const ConvGeometry& geometry) {
  const DType wide = accumulate_dtype(dy.dtype());
  Conv2dWgradArgs args{x0, x1, dy, {}, {}, geometry};
  args.dw = Tensor::empty(w, wide, dy.device());
  if (bias) args.dbias = Tensor::empty({w[0]}, wide, dy.device());
  check_and_run(conv2d_wgrad, args);
  return {args.dw, args.dbias};
}

Tensor bias_gradient(const Tensor& dy) {
  return compute::sum(dy, ReduceOver::leading, accumulate_dtype(dy.dtype()));
}

}  // namespace

Activation conv2d(const Var& x, const Var& w, const Var& bias, const ConvOptions& options) {
  const Tensor& x0 = x.value();
  TILLER_CHECK(x0.defined() && x0.rank() == 4 && w.defined() && w.value().rank() == 4,
               "conv2d: x {} is not [N,H,W,C] or w {} is not [K,R,S,C]", to_string(x0),
               to_string(w.value()));
  const ConvGeometry geometry = options.geometry;
  Conv2dFwdArgs args{.x0 = x0,
                     .x1 = options.x1.value(),
                     .w = w.value(),
                     .bias = bias.value(),
                     .residual = options.residual.value(),
                     .skip0 = options.skip0.value(),
                     .skip1 = options.skip1.value(),
                     .skip_w = options.skip_w.value(),
                     .skip_bias = options.skip_bias.value(),
                     .y = {},
                     .stats = {},
                     .geometry = geometry,
                     .residual_up2x = options.residual_up2x};
  const Shape out{x.dim(0), conv_out(x.dim(1), w.dim(1), geometry),
                  conv_out(x.dim(2), w.dim(2), geometry), w.dim(0)};
  args.y = Tensor::empty(out, x0.dtype(), x0.device());
  if (options.stats)
    args.stats = Tensor::empty({out[0], out[3], 2}, accumulate_dtype(x0.dtype()), x0.device());
  check(args);
  const ConvLowering lowering = lowering_for(conv2d_fwd, args);
  run_lowered(args, lowering);
  if (lowering.stats) args.stats = {};

  const std::vector<Var> inputs{x,
                                options.x1,
                                w,
                                bias,
                                options.residual,
                                options.skip0,
                                options.skip1,
                                options.skip_w,
                                options.skip_bias};
  const Needs needed = needs_of(inputs);
  const bool any_x = needed[kX0] || needed[kX1], any_skip = needed[kSkip0] || needed[kSkip1];
  Saved keep = saved(if_needed(any_x, args.w), if_needed(needed[kW], args.x0),
                     if_needed(needed[kW], args.x1), if_needed(any_skip, args.skip_w),
                     if_needed(needed[kSkipW], args.skip0), if_needed(needed[kSkipW], args.skip1));
  const auto shape = [](const Tensor& t) { return t ? t.shape() : Shape(); };
  const Shape x0_shape = shape(args.x0), x1_shape = shape(args.x1), w_shape = shape(args.w);
  const Shape skip0_shape = shape(args.skip0), skip1_shape = shape(args.skip1);
  const Shape skip_w_shape = shape(args.skip_w), residual_shape = shape(args.residual);
  const bool residual_up2x = options.residual_up2x;

  const Var y = record(
      "conv2d", inputs, args.y, std::move(keep),
      [=](const Saved& s, const Tensor& incoming, Needs needs) {
        const Tensor dy = compute::dense(incoming);
        Grads grads(9);
        if (needs[kX0] || needs[kX1]) {
          const Sources dx = dgrad(dy, s[0], x0_shape, x1_shape, geometry);
          grads[kX0] = dx.first;
          grads[kX1] = dx.second;
        }
        if (needs[kW]) {
          const Parameters d = wgrad(s[1], s[2], dy, w_shape, needs[kBias], geometry);
          grads[kW] = d.w;
          grads[kBias] = d.bias;
        } else if (needs[kBias]) {
          grads[kBias] = bias_gradient(dy);
        }
        if (needs[kResidual])
          grads[kResidual] = residual_up2x
                                 ? compute::resample_transpose(ResampleKind::nearest_up2x, dy,
                                                               residual_shape[1], residual_shape[2])
                                 : dy;
        if (needs[kSkip0] || needs[kSkip1]) {
          const Sources dx = dgrad(dy, s[3], skip0_shape, skip1_shape, {});
          grads[kSkip0] = dx.first;
          grads[kSkip1] = dx.second;
        }
        // The two biases have equal gradients, but each owns its bytes.
        if (needs[kSkipW]) {
          const Parameters d = wgrad(s[4], s[5], dy, skip_w_shape, needs[kSkipBias], {});
          grads[kSkipW] = d.w;
          grads[kSkipBias] = d.bias;
        } else if (needs[kSkipBias]) {
          grads[kSkipBias] = bias_gradient(dy);
        }
        return grads;
      });
  return {y, args.stats};
}

}  // namespace tiller
