// Self-attention. The T x T matrix of probabilities is not kept: the logarithm of its denominators
// is enough to make it again, one row at a time (Dao et al. 2022, "FlashAttention", section 3.1).
#include "kernels/attention/attention.h"

#include "autograd/ops.h"
#include "autograd/ops/compute.h"
#include "kernels/pool_tokens/pool_tokens.h"

namespace tiller {

Var attention(const Var& qkv, std::int64_t heads, QkvOrder order, bool one_query) {
  const Tensor& in = qkv.value();
  TILLER_CHECK(in.defined() && in.rank() == 3 && heads >= 1 && in.dim(2) % (3 * heads) == 0,
               "attention: qkv {} is not [N,T,3C] with C divisible by heads={}", to_string(in),
               heads);
  const std::int64_t queries = one_query ? 1 : in.dim(1);
  const bool needed = needs_of({qkv}).any();
  AttentionFwdArgs args;
  args.qkv = in;
  args.heads = heads;
  args.order = order;
  args.one_query = one_query;
  args.o = Tensor::empty({in.dim(0), queries, in.dim(2) / 3}, in.dtype(), in.device());
  if (needed)
    args.lse =
        Tensor::empty({in.dim(0), heads, queries}, accumulate_dtype(in.dtype()), in.device());
  check(args);
  run(attention_fwd, args);
  return record("attention", {qkv}, args.o, saved(args.qkv, args.o, args.lse),
                [=](const Saved& s, const Tensor& dy, Needs) {
                  const AttentionBwdArgs d{.qkv = s[0],
                                           .o = s[1],
                                           .lse = s[2],
                                           .d_o = dy,
                                           .dqkv = Tensor::empty_like(s[0]),
                                           .heads = heads,
                                           .order = order,
                                           .one_query = one_query};
                  check(d);
                  run(attention_bwd, d);
                  return Grads{d.dqkv};
                });
}

Var pool_tokens(const Var& x, const Var& pos) {
  const Tensor& in = x.value();
  TILLER_CHECK(in.defined() && in.rank() == 3, "pool_tokens: x {} is not [N,T,C]", to_string(in));
  const PoolTokensFwdArgs args{
      in, pos.value(), Tensor::empty(in.shape().with(1, in.dim(1) + 1), in.dtype(), in.device())};
  check(args);
  run(pool_tokens_fwd, args);
  const Shape x_shape = x.shape(), pos_shape = pos.shape();
  return record("pool_tokens", {x, pos}, args.y, saved(),
                [x_shape, pos_shape](const Saved&, const Tensor& dy, Needs needs) {
                  PoolTokensBwdArgs d;
                  d.dy = dy;
                  if (needs[0]) d.dx = Tensor::empty(x_shape, dy.dtype(), dy.device());
                  if (needs[1])
                    d.dpos = Tensor::empty(pos_shape, accumulate_dtype(dy.dtype()), dy.device());
                  check(d);
                  run(pool_tokens_bwd, d);
                  return Grads{d.dx, d.dpos};
                });
}

}  // namespace tiller
