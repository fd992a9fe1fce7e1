// Group norm, with scale-shift, SiLU and 2x2 mean in one pass. README.md derives its backward.
#include "kernels/group_norm/group_norm.h"

#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

namespace {

// What no fast row fuses is done by plain calls: a second source is joined first, the 2x2 mean
// follows.
struct Lowering {
  bool concat = false, pool = false;
};

// The cheapest of the four possibilities whose remaining call a fast row takes; `without` makes it.
template <class Args, class Without>
Lowering lowering_for(const Op<Args>& op, const Args& args, const Without& without) {
  if (args.dtype() == DType::f64 || is_fast(op, args)) return {};
  const bool sources = args.x1.defined();
  for (const Lowering l : {Lowering{false, true}, Lowering{true, false}, Lowering{true, true}})
    if (l.concat <= sources && l.pool <= args.pool && is_fast(op, without(l))) return l;
  return {};
}

Shape joined_shape(const Tensor& x0, const Tensor& x1) {
  return x0.shape().with(-1, x0.cols() + (x1 ? x1.cols() : 0));
}

Tensor pooled(const Tensor& x) {
  return compute::resample(ResampleKind::mean_pool2x2, x, x.dim(1) / 2, x.dim(2) / 2);
}

void check_and_run(const GroupNormFwdArgs& args) {
  check(args);
  const auto shaped = [&](const Shape& s) { return shape_only(s, args.x0.dtype(), args.device()); };
  const Shape joined = joined_shape(args.x0, args.x1);
  const Lowering lowering = lowering_for(group_norm_fwd, args, [&](const Lowering& l) {
    GroupNormFwdArgs rest = args;
    if (l.concat) {
      rest.x0 = shaped(joined);
      rest.x1 = rest.stats0 = rest.stats1 = {};
    }
    if (l.pool) {
      rest.pool = false;
      rest.y = shaped(joined);
    }
    return rest;
  });
  GroupNormFwdArgs rest = args;
  if (lowering.concat) {
    rest.x0 = compute::concat(args.x0, args.x1);
    rest.x1 = rest.stats0 = rest.stats1 = {};
  }
  if (lowering.pool) {
    rest.pool = false;
    rest.y = Tensor::empty(joined, args.x0.dtype(), args.device());
  }
  run(group_norm_fwd, rest);
  if (lowering.pool) compute::copy(pooled(rest.y), args.y);
}

void check_and_run(const GroupNormBwdArgs& args) {
  check(args);
  const auto shaped = [&](const Shape& s) { return shape_only(s, args.x0.dtype(), args.device()); };
  const Shape joined = joined_shape(args.x0, args.x1);
  const bool dx = args.dx0 || args.dx1;
  const Lowering lowering = lowering_for(group_norm_bwd, args, [&](const Lowering& l) {
    GroupNormBwdArgs rest = args;
    if (l.concat) {
      rest.x0 = shaped(joined);
      if (dx) rest.dx0 = shaped(joined);
      rest.x1 = rest.dx1 = rest.add0 = {};
    }
    if (l.pool) {
      rest.pool = false;
      rest.dy = shaped(joined);
    }
    return rest;
  });
  GroupNormBwdArgs rest = args;
  if (lowering.concat) {
    rest.x0 = compute::concat(args.x0, args.x1);
    if (dx) rest.dx0 = Tensor::empty_like(rest.x0);
    rest.x1 = rest.dx1 = rest.add0 = {};
  }
  if (lowering.pool) {
    rest.pool = false;
    rest.dy =
        compute::resample_transpose(ResampleKind::mean_pool2x2, args.dy, joined[1], joined[2]);
  }
  run(group_norm_bwd, rest);
  if (!lowering.concat) return;
  const std::int64_t c0 = args.x0.cols();
  const Tensor own = args.dx0 ? rest.dx0.channels(0, c0) : Tensor();
  if (args.dx0) compute::copy(args.add0 ? add(own, args.add0).value() : own, args.dx0);
  if (args.dx1) compute::copy(rest.dx0.channels(c0, joined[-1]), args.dx1);
}

}  // namespace

Var group_norm(const Activation& x0, const Activation& x1, const Var& gamma, const Var& beta,
               const GroupNormOptions& options) {
  const Tensor& x = x0.x.value();
  TILLER_CHECK(x.defined() && x.rank() >= 2 && options.groups >= 1,
               "group_norm: x {} is not [N,...,C], or groups={} is not positive", to_string(x),
               options.groups);
  TILLER_CHECK(!options.pool || x.rank() == 4, "group_norm: 2x2 blocks do not tile x {}",
               to_string(x));
  const int groups = options.groups;
  const bool silu = options.silu, pool = options.pool;
  const DType wide = accumulate_dtype(x.dtype());
  GroupNormFwdArgs args{.x0 = x,
                        .x1 = x1.x.value(),
                        .gamma = gamma.value(),
                        .beta = beta.value(),
                        .emb = options.emb.value(),
                        .stats0 = x0.stats,
                        .stats1 = x1.stats,
                        .y = {},
                        .mean_rstd = {},
                        .groups = groups,
                        .eps = options.eps,
                        .silu = silu,
                        .pool = pool};
  Shape out = joined_shape(x, args.x1);
  if (pool) out = out.with(1, out[1] / 2).with(2, out[2] / 2);
  args.y = Tensor::empty(out, x.dtype(), x.device());
  args.mean_rstd = Tensor::empty({x.dim(0), groups, 2}, wide, x.device());
  check_and_run(args);

  return record("group_norm", {x0.x, x1.x, gamma, beta, options.emb}, args.y,
                saved(args.x0, args.x1, args.gamma, args.beta, args.emb, args.mean_rstd),
                [groups, silu, pool](const Saved& s, const Tensor& dy, Needs needs) {
                  const auto like = [&](int input, const Tensor& t) {
                    return needs[input] ? Tensor::empty_like(t) : Tensor();
                  };
                  const GroupNormBwdArgs d{.x0 = s[0],
                                           .x1 = s[1],
                                           .gamma = s[2],
                                           .beta = s[3],
                                           .emb = s[4],
                                           .mean_rstd = s[5],
                                           .dy = dy,
                                           // A residual block's skip has its gradient by now.
                                           .add0 = needs[0] ? Tape::take_gathered(0) : Tensor(),
                                           .dx0 = like(0, s[0]),
                                           .dx1 = like(1, s[1]),
                                           .dgamma = like(2, s[2]),
                                           .dbeta = like(3, s[3]),
                                           .demb = like(4, s[4]),
                                           .groups = groups,
                                           .silu = silu,
                                           .pool = pool};
                  check_and_run(d);
                  return Grads{d.dx0, d.dx1, d.dgamma, d.dbeta, d.demb};
                });
}

Var group_norm(const Activation& x, const Var& gamma, const Var& beta,
               const GroupNormOptions& options) {
  return group_norm(x, Activation(), gamma, beta, options);
}

}  // namespace tiller
