#pragma once
// Every operation with its argument type, and the tensors among the arguments: what a benchmark
// needs to know to run any call that it is handed.
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/group_norm/group_norm.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool_tokens/pool_tokens.h"
#include "kernels/reduce/reduce.h"
#include "kernels/resample/resample.h"
#include "kernels/sampler_step/sampler_step.h"
#include "kernels/softmax/softmax.h"

namespace tiller::bench {

/// Calls f(op) for every operation: the typed twin of all_ops().
template <class F>
void for_each_op(const F& f) {
  f(conv2d_fwd), f(conv2d_dgrad), f(conv2d_wgrad);
  f(linear_fwd), f(linear_dgrad), f(linear_wgrad);
  f(group_norm_fwd), f(group_norm_bwd);
  f(attention_fwd), f(attention_bwd);
  f(pool_tokens_fwd), f(pool_tokens_bwd);
  f(unary), f(silu_bwd), f(binary), f(where_fwd);
  f(resample_fwd), f(resample_bwd);
  f(softmax_fwd), f(softmax_bwd), f(cross_entropy_fwd), f(cross_entropy_bwd);
  f(reduce), f(broadcast_to);
  f(embedding_fwd), f(embedding_bwd), f(timestep_embedding_fwd);
  f(dropout_fwd);
  f(adamw), f(ema_update), f(global_norm), f(scale_all);
  f(sampler_step);
}

using Tensors = std::vector<Tensor*>;

/// All tensors of a call, inputs and outputs, undefined ones included.
inline Tensors tensors(Conv2dFwdArgs& a) {
  return {&a.x0,    &a.x1,     &a.w,         &a.bias, &a.residual, &a.skip0,
          &a.skip1, &a.skip_w, &a.skip_bias, &a.y,    &a.stats};
}
inline Tensors tensors(Conv2dDgradArgs& a) { return {&a.dy, &a.w, &a.dx0, &a.dx1}; }
inline Tensors tensors(Conv2dWgradArgs& a) { return {&a.x0, &a.x1, &a.dy, &a.dw, &a.dbias}; }
inline Tensors tensors(LinearFwdArgs& a) {
  return {&a.x,          &a.w,          &a.bias,      &a.residual,      &a.y,
          &a.norm.stats, &a.norm.gamma, &a.norm.beta, &a.norm.mean_rstd};
}
inline Tensors tensors(LinearDgradArgs& a) { return {&a.dy, &a.w, &a.dx}; }
inline Tensors tensors(LinearWgradArgs& a) { return {&a.x, &a.dy, &a.dw, &a.dbias}; }
inline Tensors tensors(GroupNormFwdArgs& a) {
  return {&a.x0, &a.x1, &a.gamma, &a.beta, &a.emb, &a.stats0, &a.stats1, &a.y, &a.mean_rstd};
}
inline Tensors tensors(GroupNormBwdArgs& a) {
  return {&a.x0,   &a.x1,  &a.gamma, &a.beta,   &a.emb,   &a.mean_rstd, &a.dy,
          &a.add0, &a.dx0, &a.dx1,   &a.dgamma, &a.dbeta, &a.demb};
}
inline Tensors tensors(AttentionFwdArgs& a) { return {&a.qkv, &a.o, &a.lse}; }
inline Tensors tensors(AttentionBwdArgs& a) { return {&a.qkv, &a.o, &a.lse, &a.d_o, &a.dqkv}; }
inline Tensors tensors(PoolTokensFwdArgs& a) { return {&a.x, &a.pos, &a.y}; }
inline Tensors tensors(PoolTokensBwdArgs& a) { return {&a.dy, &a.dx, &a.dpos}; }
inline Tensors tensors(UnaryArgs& a) { return {&a.x, &a.y}; }
inline Tensors tensors(SiluBwdArgs& a) { return {&a.x, &a.dy, &a.dx}; }
inline Tensors tensors(BinaryArgs& a) { return {&a.a, &a.b, &a.y}; }
inline Tensors tensors(WhereArgs& a) { return {&a.mask, &a.a, &a.b, &a.y}; }
inline Tensors tensors(ResampleFwdArgs& a) { return {&a.x, &a.y}; }
inline Tensors tensors(ResampleBwdArgs& a) { return {&a.dy, &a.dx}; }
inline Tensors tensors(SoftmaxFwdArgs& a) { return {&a.x, &a.y}; }
inline Tensors tensors(SoftmaxBwdArgs& a) { return {&a.y, &a.dy, &a.dx}; }
inline Tensors tensors(CrossEntropyFwdArgs& a) { return {&a.logits, &a.labels, &a.loss}; }
inline Tensors tensors(CrossEntropyBwdArgs& a) {
  return {&a.logits, &a.labels, &a.dloss, &a.dlogits};
}
inline Tensors tensors(ReduceArgs& a) { return {&a.x, &a.y}; }
inline Tensors tensors(BroadcastToArgs& a) { return {&a.x, &a.y}; }
inline Tensors tensors(EmbeddingFwdArgs& a) { return {&a.table, &a.index, &a.addend, &a.y}; }
inline Tensors tensors(EmbeddingBwdArgs& a) { return {&a.index, &a.dy, &a.dtable}; }
inline Tensors tensors(TimestepEmbeddingArgs& a) { return {&a.t, &a.y}; }
inline Tensors tensors(DropoutArgs& a) { return {&a.x, &a.y}; }
inline Tensors tensors(SamplerStepArgs& a) {
  return {&a.x, &a.model, &a.gradient, &a.noise, &a.table, &a.state, &a.y, &a.x_start};
}
inline Tensors pointers(std::initializer_list<std::vector<Tensor>*> lists) {
  Tensors all;
  for (std::vector<Tensor>* list : lists)
    for (Tensor& t : *list) all.push_back(&t);
  return all;
}
inline Tensors tensors(AdamWArgs& a) { return pointers({&a.p, &a.grad, &a.m, &a.v}); }
inline Tensors tensors(EmaArgs& a) { return pointers({&a.ema, &a.p}); }
inline Tensors tensors(NormArgs& a) {
  Tensors all = pointers({&a.x});
  all.push_back(&a.out);
  return all;
}
inline Tensors tensors(ScaleAllArgs& a) { return pointers({&a.x}); }

}  // namespace tiller::bench
