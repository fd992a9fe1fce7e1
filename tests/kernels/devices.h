#pragma once
// The same arguments on another device. simt's memory is host memory, so its tensors borrow the
// bytes of the CPU's: outputs appear in the tensors that the test holds, and a channel slice keeps
// its neighbours.
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

namespace tiller::test {

inline constexpr Device kSimt{DeviceType::simt, 0};

/// The same elements as a tensor of simt.
inline Tensor on_simt(const Tensor& t) {
  if (!t) return t;
  const std::shared_ptr<Storage>& host = t.storage();
  return Tensor::view(Storage::borrow(host->data(), host->bytes(), kSimt, host), t.shape(),
                      t.dtype(), t.offset(), t.row_stride());
}

inline void move_all(std::initializer_list<Tensor*> tensors) {
  for (Tensor* t : tensors) *t = on_simt(*t);
}
inline void move_all(std::vector<Tensor>& tensors) {
  for (Tensor& t : tensors) t = on_simt(t);
}

inline void move_args(UnaryArgs& a) { move_all({&a.x, &a.y}); }
inline void move_args(SiluBwdArgs& a) { move_all({&a.x, &a.dy, &a.dx}); }
inline void move_args(BinaryArgs& a) { move_all({&a.a, &a.b, &a.y}); }
inline void move_args(WhereArgs& a) { move_all({&a.mask, &a.a, &a.b, &a.y}); }
inline void move_args(ResampleFwdArgs& a) { move_all({&a.x, &a.y}); }
inline void move_args(ResampleBwdArgs& a) { move_all({&a.dy, &a.dx}); }
inline void move_args(SoftmaxFwdArgs& a) { move_all({&a.x, &a.y}); }
inline void move_args(SoftmaxBwdArgs& a) { move_all({&a.y, &a.dy, &a.dx}); }
inline void move_args(CrossEntropyFwdArgs& a) { move_all({&a.logits, &a.labels, &a.loss}); }
inline void move_args(CrossEntropyBwdArgs& a) {
  move_all({&a.logits, &a.labels, &a.dloss, &a.dlogits});
}
inline void move_args(ReduceArgs& a) { move_all({&a.x, &a.y}); }
inline void move_args(BroadcastToArgs& a) { move_all({&a.x, &a.y}); }
inline void move_args(EmbeddingFwdArgs& a) { move_all({&a.table, &a.index, &a.addend, &a.y}); }
inline void move_args(EmbeddingBwdArgs& a) { move_all({&a.index, &a.dy, &a.dtable}); }
inline void move_args(TimestepEmbeddingArgs& a) { move_all({&a.t, &a.y}); }
inline void move_args(DropoutArgs& a) { move_all({&a.x, &a.y}); }
inline void move_args(PoolTokensFwdArgs& a) { move_all({&a.x, &a.pos, &a.y}); }
inline void move_args(PoolTokensBwdArgs& a) { move_all({&a.dy, &a.dx, &a.dpos}); }
inline void move_args(LinearFwdArgs& a) { move_all({&a.x, &a.w, &a.bias, &a.residual, &a.y}); }
inline void move_args(LinearDgradArgs& a) { move_all({&a.dy, &a.w, &a.dx}); }
inline void move_args(LinearWgradArgs& a) { move_all({&a.x, &a.dy, &a.dw, &a.dbias}); }
inline void move_args(GroupNormFwdArgs& a) {
  move_all({&a.x0, &a.x1, &a.gamma, &a.beta, &a.emb, &a.stats0, &a.stats1, &a.y, &a.mean_rstd});
}
inline void move_args(GroupNormBwdArgs& a) {
  move_all({&a.x0, &a.x1, &a.gamma, &a.beta, &a.emb, &a.mean_rstd, &a.dy, &a.add0, &a.dx0, &a.dx1,
            &a.dgamma, &a.dbeta, &a.demb});
}
inline void move_args(AttentionFwdArgs& a) { move_all({&a.qkv, &a.o, &a.lse}); }
inline void move_args(AttentionBwdArgs& a) { move_all({&a.qkv, &a.o, &a.lse, &a.d_o, &a.dqkv}); }
inline void move_args(Conv2dFwdArgs& a) {
  move_all({&a.x0, &a.x1, &a.w, &a.bias, &a.residual, &a.skip0, &a.skip1, &a.skip_w, &a.skip_bias,
            &a.y, &a.stats});
}
inline void move_args(Conv2dDgradArgs& a) { move_all({&a.dy, &a.w, &a.dx0, &a.dx1}); }
inline void move_args(Conv2dWgradArgs& a) { move_all({&a.x0, &a.x1, &a.dy, &a.dw, &a.dbias}); }
inline void move_args(SamplerStepArgs& a) {
  move_all({&a.x, &a.model, &a.gradient, &a.noise, &a.table, &a.state, &a.y, &a.x_start});
}
inline void move_args(AdamWArgs& a) {
  for (std::vector<Tensor>* list : {&a.p, &a.grad, &a.m, &a.v}) move_all(*list);
}
inline void move_args(EmaArgs& a) {
  move_all(a.ema);
  move_all(a.p);
}
inline void move_args(NormArgs& a) {
  move_all(a.x);
  move_all({&a.out});
}
inline void move_args(ScaleAllArgs& a) { move_all(a.x); }

/// The arguments as they are (cpu), or on simt.
template <class Args>
Args on_device(const Args& args, DeviceType device) {
  Args moved = args;
  if (device == DeviceType::simt) move_args(moved);
  return moved;
}

/// The devices whose rows the tests walk.
inline std::vector<DeviceType> tested_devices() {
  if (available(kSimt)) return {DeviceType::cpu, DeviceType::simt};
  return {DeviceType::cpu};
}

}  // namespace tiller::test
