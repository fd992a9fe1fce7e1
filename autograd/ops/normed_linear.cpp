// A linear layer behind a group norm, as qkv of an attention block is. Where only x's gradient is
// asked for, nobody wants the normed x: one kernel norms what it reads, and x and the statistics
// are kept. With the weight's gradient the normed x is wanted, and the two are recorded apart.
#include "autograd/ops.h"
#include "autograd/ops/compute.h"
#include "kernels/group_norm/group_norm.h"

namespace tiller {

namespace {

// The call without its outputs.
LinearFwdArgs args_of(const Activation& x, const Var& gamma, const Var& beta, const Var& w,
                      const Var& bias, const GroupNormOptions& options) {
  TILLER_CHECK(x.x.defined() && x.x.value().rank() >= 2 && w.defined() && w.value().rank() == 2,
               "normed_linear: x {} is not [N,...,C] or w {} is not [K,C]", to_string(x.x.value()),
               to_string(w.value()));
  TILLER_CHECK(
      !options.emb && !options.silu && !options.pool && options.groups >= 1,
      "normed_linear: a norm with emb, SiLU or pool, or with groups={}, is not fused, x {}",
      options.groups, to_string(x.x.value()));
  LinearFwdArgs args;
  args.x = x.x.value();
  args.w = w.value();
  args.bias = bias.value();
  args.norm.stats = x.stats;
  args.norm.gamma = gamma.value();
  args.norm.beta = beta.value();
  args.norm.groups = options.groups;
  args.norm.eps = options.eps;
  return args;
}

// Gives the call its outputs: make(shape, dtype).
template <class Make>
void add_outputs(LinearFwdArgs& args, const Make& make) {
  const Tensor& x = args.x;
  args.y = make(x.shape().with(-1, args.w.dim(0)), x.dtype());
  args.norm.mean_rstd = make({x.dim(0), args.norm.groups, 2}, accumulate_dtype(x.dtype()));
}

}  // namespace

bool fuses_norm(const Activation& x, const Var& gamma, const Var& beta, const Var& w,
                const Var& bias, const GroupNormOptions& options) {
  LinearFwdArgs args = args_of(x, gamma, beta, w, bias, options);
  if (!args.norm || needs_of({gamma, beta, w, bias}).any()) return false;
  add_outputs(args, [&](const Shape& shape, DType dtype) {
    return shape_only(shape, dtype, args.x.device());
  });
  return is_fast(linear_fwd, args);
}

Var normed_linear(const Activation& x, const Var& gamma, const Var& beta, const Var& w,
                  const Var& bias, const GroupNormOptions& options) {
  if (!fuses_norm(x, gamma, beta, w, bias, options))
    return linear(group_norm(x, gamma, beta, options), w, bias);
  LinearFwdArgs args = args_of(x, gamma, beta, w, bias, options);
  add_outputs(args, [&](const Shape& shape, DType dtype) {
    return Tensor::empty(shape, dtype, args.x.device());
  });
  check(args);
  run(linear_fwd, args);
  const int groups = options.groups;
  return record("normed_linear", {x.x, gamma, beta, w, bias}, args.y,
                saved(args.x, args.norm.gamma, args.norm.beta, args.norm.mean_rstd, args.w),
                [groups](const Saved& s, const Tensor& dy, Needs) {
                  GroupNormBwdArgs d;
                  d.x0 = s[0];
                  d.gamma = s[1];
                  d.beta = s[2];
                  d.mean_rstd = s[3];
                  d.dy = compute::linear_dgrad(compute::dense(dy), s[4]);
                  d.add0 = Tape::take_gathered(0);  // an attention block's skip, by now
                  d.dx0 = Tensor::empty_like(s[0]);
                  d.groups = groups;
                  check(d);
                  run(group_norm_bwd, d);
                  return Grads{d.dx0, {}, {}, {}, {}};
                });
}

}  // namespace tiller
