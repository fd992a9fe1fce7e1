#pragma once
// What training does to all parameters at once: one launch for a whole list of tensors.
#include <vector>

#include "runtime/op.h"

namespace tiller {

/// AdamW (Loshchilov & Hutter 2019, Algorithm 2) as torch.optim.AdamW computes it:
///   p -= lr * weight_decay * p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
///   p -= lr / (1 - b1^step) * m / (sqrt(v) / sqrt(1 - b2^step) + eps)
/// with g = grad * grad_scale. All tensors f32 (or all f64); version counters of p move.
struct AdamWArgs {
  std::vector<Tensor> p, grad, m, v;  // equal shapes, list by list
  double lr = 1e-4, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  double grad_scale = 1;
  std::int64_t step = 1;  ///< of this update, from 1
  Device device() const { return p.empty() ? kCpu : p[0].device(); }
  DType dtype() const { return p.empty() ? DType::f32 : p[0].dtype(); }
};

/// ema = rate * ema + (1 - rate) * p.
struct EmaArgs {
  std::vector<Tensor> ema, p;
  double rate = 0.9999;
  Device device() const { return ema.empty() ? kCpu : ema[0].device(); }
  DType dtype() const { return ema.empty() ? DType::f32 : ema[0].dtype(); }
};

/// out[0] = sqrt(sum over all tensors of (scale x)^2), accumulated in f64 in a fixed order; out[1]
/// = 1 if any element is not finite, else 0.
struct NormArgs {
  std::vector<Tensor> x;
  Tensor out;  // [2] f64
  double scale = 1;
  Device device() const { return out.device(); }
  DType dtype() const { return x.empty() ? DType::f32 : x[0].dtype(); }
};

/// x *= scale for every tensor (loss-scale removal, gradient clipping).
struct ScaleAllArgs {
  std::vector<Tensor> x;
  double scale = 1;
  Device device() const { return x.empty() ? kCpu : x[0].device(); }
  DType dtype() const { return x.empty() ? DType::f32 : x[0].dtype(); }
};

void check(const AdamWArgs& args);
void check(const EmaArgs& args);
void check(const NormArgs& args);
void check(const ScaleAllArgs& args);
Cost cost(const AdamWArgs& args);
Cost cost(const EmaArgs& args);
Cost cost(const NormArgs& args);
Cost cost(const ScaleAllArgs& args);
std::string describe(const AdamWArgs& args);
std::string describe(const EmaArgs& args);
std::string describe(const NormArgs& args);
std::string describe(const ScaleAllArgs& args);

extern const Op<AdamWArgs> adamw;
extern const Op<EmaArgs> ema_update;
extern const Op<NormArgs> global_norm;
extern const Op<ScaleAllArgs> scale_all;

}  // namespace tiller
