#include "autograd/ops/conv_lowering.h"

#include <array>

#include "autograd/ops/compute.h"

namespace tiller {

namespace {

constexpr auto kUp = ResampleKind::nearest_up2x;

// Every part with what it costs to take out, in passes over an activation, roughly.
struct Part {
  bool ConvLowering::*flag;
  int cost;
};
constexpr std::array<Part, 6> kParts{{{&ConvLowering::stats, 2},
                                      {&ConvLowering::residual_up, 3},
                                      {&ConvLowering::residual, 4},
                                      {&ConvLowering::skip, 5},
                                      {&ConvLowering::concat, 5},
                                      {&ConvLowering::up, 8}}};

ConvLowering parts_of(const Conv2dFwdArgs& args) {
  return {args.stats.defined(), args.residual && args.residual_up2x, args.residual.defined(),
          args.skip0.defined(), args.x1 || !args.x0.dense(),         args.geometry.up2x};
}
ConvLowering parts_of(const Conv2dDgradArgs& args) {
  return {.concat = args.dx1.defined(), .up = args.geometry.up2x};
}
ConvLowering parts_of(const Conv2dWgradArgs& args) {
  return {.residual = args.dbias.defined(),
          .concat = args.x1 || !args.x0.dense(),
          .up = args.geometry.up2x};
}

Shape doubled(const Shape& shape) { return shape.with(1, 2 * shape[1]).with(2, 2 * shape[2]); }

// The input as the lowered call sees it.
Shape source_shape(const Tensor& x0, const Tensor& x1, const ConvLowering& lowering) {
  Shape shape = x0.shape();
  if (lowering.concat && x1) shape = shape.with(-1, x0.cols() + x1.cols());
  return lowering.up ? doubled(shape) : shape;
}

// The remaining fused call, with shapes instead of tensors where the lowering makes new ones.
Conv2dFwdArgs planned(const Conv2dFwdArgs& args, const ConvLowering& lowering) {
  Conv2dFwdArgs plan = args;
  const auto shaped = [&](const Shape& shape) {
    return shape_only(shape, args.x0.dtype(), args.device());
  };
  if (lowering.concat || lowering.up) {
    plan.x0 = shaped(source_shape(args.x0, args.x1, lowering));
    if (lowering.concat)
      plan.x1 = {};
    else if (args.x1)
      plan.x1 = shaped(doubled(args.x1.shape()));
  }
  if (lowering.up) plan.geometry.up2x = false;
  if (lowering.stats) plan.stats = {};
  if (lowering.skip) plan.skip0 = plan.skip1 = plan.skip_w = plan.skip_bias = {};
  const bool residual = (args.residual && !lowering.residual) || lowering.skip;
  plan.residual_up2x = args.residual_up2x && residual && !lowering.residual_up && !lowering.skip;
  if (!residual)
    plan.residual = {};
  else if (plan.residual_up2x != args.residual_up2x || !args.residual || lowering.skip)
    plan.residual = shaped(args.y.shape());
  return plan;
}

Conv2dDgradArgs planned(const Conv2dDgradArgs& args, const ConvLowering& lowering) {
  Conv2dDgradArgs plan = args;
  const auto shaped = [&](const Shape& shape) {
    return shape_only(shape, args.dtype(), args.device());
  };
  if (lowering.concat || lowering.up) {
    plan.dx0 = shaped(source_shape(args.dx0, args.dx1, lowering));
    if (lowering.concat)
      plan.dx1 = {};
    else if (args.dx1)
      plan.dx1 = shaped(doubled(args.dx1.shape()));
  }
  if (lowering.up) plan.geometry.up2x = false;
  return plan;
}

Conv2dWgradArgs planned(const Conv2dWgradArgs& args, const ConvLowering& lowering) {
  Conv2dWgradArgs plan = args;
  const auto shaped = [&](const Shape& shape) {
    return shape_only(shape, args.x0.dtype(), args.device());
  };
  if (lowering.concat || lowering.up) {
    plan.x0 = shaped(source_shape(args.x0, args.x1, lowering));
    if (lowering.concat)
      plan.x1 = {};
    else if (args.x1)
      plan.x1 = shaped(doubled(args.x1.shape()));
  }
  if (lowering.up) plan.geometry.up2x = false;
  if (lowering.residual) plan.dbias = {};
  return plan;
}

template <class Args>
ConvLowering choose(const Args& args, const std::function<bool(const Args&)>& fast) {
  if (fast(args)) return {};
  const ConvLowering present = parts_of(args);
  if (!fast(planned(args, present))) return {};
  ConvLowering best = present;
  int best_cost = 1 << 20;
  for (unsigned set = 1; set < 1u << kParts.size(); ++set) {
    ConvLowering candidate;
    int cost = 0;
    bool possible = true;
    for (std::size_t i = 0; i < kParts.size(); ++i)
      if (set >> i & 1u) {
        possible = possible && present.*kParts[i].flag;
        candidate.*kParts[i].flag = true;
        cost += kParts[i].cost;
      }
    if (!possible || cost >= best_cost || !fast(planned(args, candidate))) continue;
    best = candidate;
    best_cost = cost;
  }
  return best;
}

Tensor up(const Tensor& x) { return compute::resample(kUp, x, 2 * x.dim(1), 2 * x.dim(2)); }

// The sources, joined and up-sampled as the lowering says. Joining first makes one copy less.
void lower_sources(Tensor& x0, Tensor& x1, const ConvLowering& lowering) {
  if (lowering.concat) {
    x0 = x1 ? compute::concat(x0, x1) : compute::dense(x0);
    x1 = {};
  }
  if (!lowering.up) return;
  x0 = up(x0);
  if (x1) x1 = up(x1);
}

}  // namespace

ConvLowering choose_lowering(const Conv2dFwdArgs& args,
                             const std::function<bool(const Conv2dFwdArgs&)>& fast) {
  return choose(args, fast);
}
ConvLowering choose_lowering(const Conv2dDgradArgs& args,
                             const std::function<bool(const Conv2dDgradArgs&)>& fast) {
  return choose(args, fast);
}
ConvLowering choose_lowering(const Conv2dWgradArgs& args,
                             const std::function<bool(const Conv2dWgradArgs&)>& fast) {
  return choose(args, fast);
}

void run_lowered(const Conv2dFwdArgs& args, const ConvLowering& lowering) {
  Conv2dFwdArgs rest = args;
  if (lowering.stats) rest.stats = {};
  if (lowering.up) rest.geometry.up2x = false;
  lower_sources(rest.x0, rest.x1, lowering);
  if (args.residual && args.residual_up2x && lowering.residual_up) {
    rest.residual = up(args.residual);
    rest.residual_up2x = false;
  }
  Tensor added = lowering.residual ? rest.residual : Tensor();  // after the convolution
  if (lowering.residual) rest.residual = {};
  if (added && rest.residual_up2x) {
    added = up(added);
    rest.residual_up2x = false;
  }
  if (lowering.skip) {
    Conv2dFwdArgs skip;
    skip.x0 = args.skip0;
    skip.x1 = args.skip1;
    skip.w = args.skip_w;
    skip.bias = args.skip_bias;
    skip.residual = rest.residual;
    skip.residual_up2x = rest.residual_up2x;
    skip.y = Tensor::empty_like(args.y);
    run_lowered(
        skip, choose_lowering(skip, [](const Conv2dFwdArgs& a) { return is_fast(conv2d_fwd, a); }));
    rest.skip0 = rest.skip1 = rest.skip_w = rest.skip_bias = {};
    rest.residual = skip.y;
    rest.residual_up2x = false;
  }
  run(conv2d_fwd, rest);
  if (!added) return;
  const BinaryArgs add{.a = args.y, .b = added, .y = args.y};
  check(add);
  run(binary, add);
}

void run_lowered(const Conv2dDgradArgs& args, const ConvLowering& lowering) {
  if (!lowering.concat && !lowering.up) return run(conv2d_dgrad, args);
  Conv2dDgradArgs rest = args;
  const auto fresh = [&](const Shape& shape) {
    return Tensor::empty(shape, args.dtype(), args.device());
  };
  rest.dx0 = fresh(source_shape(args.dx0, args.dx1, lowering));
  if (lowering.concat)
    rest.dx1 = {};
  else if (args.dx1)
    rest.dx1 = fresh(doubled(args.dx1.shape()));
  if (lowering.up) rest.geometry.up2x = false;
  run(conv2d_dgrad, rest);
  // Back to the sources: the 2x2 sums, then the split.
  const auto give = [&](const Tensor& part, const Tensor& to) {
    if (!lowering.up) return compute::copy(part, to);
    const ResampleBwdArgs sum{kUp, part, to};
    check(sum);
    run(resample_bwd, sum);
  };
  if (!lowering.concat || !args.dx1) {
    give(rest.dx0, args.dx0);
    if (args.dx1) give(rest.dx1, args.dx1);
    return;
  }
  const std::int64_t c0 = args.dx0.cols();
  give(rest.dx0.channels(0, c0), args.dx0);
  give(rest.dx0.channels(c0, c0 + args.dx1.cols()), args.dx1);
}

void run_lowered(const Conv2dWgradArgs& args, const ConvLowering& lowering) {
  Conv2dWgradArgs rest = args;
  lower_sources(rest.x0, rest.x1, lowering);
  if (lowering.up) rest.geometry.up2x = false;
  if (lowering.residual) rest.dbias = {};
  run(conv2d_wgrad, rest);
  if (!lowering.residual) return;
  const ReduceArgs sum{ReduceKind::sum, ReduceOver::leading, args.dy, args.dbias};
  check(sum);
  run(reduce, sum);
}

}  // namespace tiller
