#pragma once
// The same arguments on another device. simt's memory is host memory, so there the tensors borrow the
// bytes of the CPU's; a GPU gets copies of whole storages, which come back when the row has run. Either
// way outputs appear in the tensors that the test holds, and a channel slice keeps its neighbours.
#include <map>

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
#include "tests/gpu.h"

namespace tiller::test {

/// Moves tensors of the CPU to a device, and what was written there back.
class Elsewhere {
 public:
  explicit Elsewhere(DeviceType device) : device_{device, 0} {}

  void move(std::initializer_list<Tensor*> tensors) {
    for (Tensor* t : tensors) *t = there(*t);
  }
  void move(std::vector<Tensor>& tensors) {
    for (Tensor& t : tensors) t = there(t);
  }
  /// What the tensors of the CPU hold now.
  void send() const {
    for (const auto& [host, copy] : copies_) copy.copy_from(all_of(host).to(device_));
  }
  /// Also waits for the device.
  void bring_back() const {
    for (const auto& [host, copy] : copies_) all_of(host).copy_from(copy.to(kCpu));
  }

 private:
  static Tensor all_of(const std::shared_ptr<Storage>& storage) {
    return Tensor::view(storage, {static_cast<std::int64_t>(storage->bytes())}, DType::u8);
  }
  Tensor there(const Tensor& t) {
    if (!t || device_ == kCpu) return t;
    const std::shared_ptr<Storage>& host = t.storage();
    std::shared_ptr<Storage> storage;
    if (device_.type == DeviceType::simt) {
      storage = Storage::borrow(host->data(), host->bytes(), device_, host);
    } else {
      Tensor& copy = copies_[host];  // one for all views of a storage
      if (!copy) copy = all_of(host).to(device_);
      storage = copy.storage();
    }
    return Tensor::view(std::move(storage), t.shape(), t.dtype(), t.offset(), t.row_stride());
  }
  Device device_;
  std::map<std::shared_ptr<Storage>, Tensor> copies_;
};

inline void move_args(UnaryArgs& a, Elsewhere& to) { to.move({&a.x, &a.y}); }
inline void move_args(SiluBwdArgs& a, Elsewhere& to) { to.move({&a.x, &a.dy, &a.dx}); }
inline void move_args(BinaryArgs& a, Elsewhere& to) { to.move({&a.a, &a.b, &a.y}); }
inline void move_args(WhereArgs& a, Elsewhere& to) { to.move({&a.mask, &a.a, &a.b, &a.y}); }
inline void move_args(ResampleFwdArgs& a, Elsewhere& to) { to.move({&a.x, &a.y}); }
inline void move_args(ResampleBwdArgs& a, Elsewhere& to) { to.move({&a.dy, &a.dx}); }
inline void move_args(SoftmaxFwdArgs& a, Elsewhere& to) { to.move({&a.x, &a.y}); }
inline void move_args(SoftmaxBwdArgs& a, Elsewhere& to) { to.move({&a.y, &a.dy, &a.dx}); }
inline void move_args(CrossEntropyFwdArgs& a, Elsewhere& to) {
  to.move({&a.logits, &a.labels, &a.loss});
}
inline void move_args(CrossEntropyBwdArgs& a, Elsewhere& to) {
  to.move({&a.logits, &a.labels, &a.dloss, &a.dlogits});
}
inline void move_args(ReduceArgs& a, Elsewhere& to) { to.move({&a.x, &a.y}); }
inline void move_args(BroadcastToArgs& a, Elsewhere& to) { to.move({&a.x, &a.y}); }
inline void move_args(EmbeddingFwdArgs& a, Elsewhere& to) {
  to.move({&a.table, &a.index, &a.addend, &a.y});
}
inline void move_args(EmbeddingBwdArgs& a, Elsewhere& to) { to.move({&a.index, &a.dy, &a.dtable}); }
inline void move_args(TimestepEmbeddingArgs& a, Elsewhere& to) { to.move({&a.t, &a.y}); }
inline void move_args(DropoutArgs& a, Elsewhere& to) { to.move({&a.x, &a.y}); }
inline void move_args(PoolTokensFwdArgs& a, Elsewhere& to) { to.move({&a.x, &a.pos, &a.y}); }
inline void move_args(PoolTokensBwdArgs& a, Elsewhere& to) { to.move({&a.dy, &a.dx, &a.dpos}); }
inline void move_args(LinearFwdArgs& a, Elsewhere& to) {
  to.move({&a.x, &a.w, &a.bias, &a.residual, &a.y, &a.norm.stats, &a.norm.gamma, &a.norm.beta,
           &a.norm.mean_rstd});
}
inline void move_args(LinearDgradArgs& a, Elsewhere& to) { to.move({&a.dy, &a.w, &a.dx}); }
inline void move_args(LinearWgradArgs& a, Elsewhere& to) {
  to.move({&a.x, &a.dy, &a.dw, &a.dbias});
}
inline void move_args(GroupNormFwdArgs& a, Elsewhere& to) {
  to.move({&a.x0, &a.x1, &a.gamma, &a.beta, &a.emb, &a.stats0, &a.stats1, &a.y, &a.mean_rstd});
}
inline void move_args(GroupNormBwdArgs& a, Elsewhere& to) {
  to.move({&a.x0, &a.x1, &a.gamma, &a.beta, &a.emb, &a.mean_rstd, &a.dy, &a.add0, &a.dx0, &a.dx1,
           &a.dgamma, &a.dbeta, &a.demb});
}
inline void move_args(AttentionFwdArgs& a, Elsewhere& to) { to.move({&a.qkv, &a.o, &a.lse}); }
inline void move_args(AttentionBwdArgs& a, Elsewhere& to) {
  to.move({&a.qkv, &a.o, &a.lse, &a.d_o, &a.dqkv});
}
inline void move_args(Conv2dFwdArgs& a, Elsewhere& to) {
  to.move({&a.x0, &a.x1, &a.w, &a.bias, &a.residual, &a.skip0, &a.skip1, &a.skip_w, &a.skip_bias,
           &a.y, &a.stats});
}
inline void move_args(Conv2dDgradArgs& a, Elsewhere& to) { to.move({&a.dy, &a.w, &a.dx0, &a.dx1}); }
inline void move_args(Conv2dWgradArgs& a, Elsewhere& to) {
  to.move({&a.x0, &a.x1, &a.dy, &a.dw, &a.dbias});
}
inline void move_args(SamplerStepArgs& a, Elsewhere& to) {
  to.move({&a.x, &a.model, &a.gradient, &a.noise, &a.table, &a.state, &a.y, &a.x_start});
}
inline void move_args(AdamWArgs& a, Elsewhere& to) {
  for (std::vector<Tensor>* list : {&a.p, &a.grad, &a.m, &a.v}) to.move(*list);
}
inline void move_args(EmaArgs& a, Elsewhere& to) {
  to.move(a.ema);
  to.move(a.p);
}
inline void move_args(NormArgs& a, Elsewhere& to) {
  to.move(a.x);
  to.move({&a.out});
}
inline void move_args(ScaleAllArgs& a, Elsewhere& to) { to.move(a.x); }

/// The arguments there; what is written stays there unless simt's.
template <class Args>
Args on_device(const Args& args, DeviceType device) {
  Args moved = args;
  Elsewhere to(device);
  move_args(moved, to);
  return moved;
}

/// run() on another device, the outputs in the tensors of `args`.
template <class Args>
void run_on(DeviceType device, const Op<Args>& op, const Args& args) {
  Args moved = args;
  Elsewhere to(device);
  move_args(moved, to);
  run(op, moved);
  to.bring_back();
}

/// The devices whose rows the tests walk.
inline std::vector<DeviceType> tested_devices() {
  if (available(gpu())) return {DeviceType::cpu, gpu().type};
  return {DeviceType::cpu};
}

}  // namespace tiller::test
