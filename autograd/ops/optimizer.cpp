#include "autograd/optimizer_ops.h"

namespace tiller {

void step_adamw(const AdamWArgs& args) {
  check(args);
  run(adamw, args);
}

void step_ema(const EmaArgs& args) {
  check(args);
  run(ema_update, args);
}

GlobalNorm norm_of(const std::vector<Tensor>& tensors, double scale) {
  const Device device = tensors.empty() ? kCpu : tensors[0].device();
  const NormArgs args{tensors, Tensor::empty({2}, DType::f64, device), scale};
  check(args);
  run(global_norm, args);
  const std::vector<double> out = args.out.to_vector<double>();
  return {out[0], out[1] == 0};
}

}  // namespace tiller
