#pragma once
// Softmax over the last dimension, its logarithm, and the cross entropy with a label per row.
#include "runtime/op.h"

namespace tiller {

struct SoftmaxFwdArgs {
  Tensor x;          // [M...,K]
  Tensor y;          // [M...,K] out
  bool log = false;  ///< log-softmax
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// From the forward's output y: dx = y (dy - sum(dy y)), or dx = dy - exp(y) sum(dy) for the
/// logarithm.
struct SoftmaxBwdArgs {
  Tensor y, dy;  // [M...,K]
  Tensor dx;     // [M...,K] out
  bool log = false;
  Device device() const { return dx.device(); }
  DType dtype() const { return dx.dtype(); }
};

/// loss[m] = -log softmax(logits[m])[labels[m]].
struct CrossEntropyFwdArgs {
  Tensor logits;  // [M,K]
  Tensor labels;  // [M] i64; a label outside [0, K) is refused by the autograd operation
  Tensor loss;    // [M] out f32 (f64 with f64)
  Device device() const { return loss.device(); }
  DType dtype() const { return logits.dtype(); }
};

/// dlogits[m,k] = dloss[m] (softmax(logits[m])[k] - [k == labels[m]]).
struct CrossEntropyBwdArgs {
  Tensor logits;   // [M,K]
  Tensor labels;   // [M] i64
  Tensor dloss;    // [M] f32 (f64 with f64)
  Tensor dlogits;  // [M,K] out, dtype of logits
  Device device() const { return dlogits.device(); }
  DType dtype() const { return logits.dtype(); }
};

void check(const SoftmaxFwdArgs& args);
void check(const SoftmaxBwdArgs& args);
void check(const CrossEntropyFwdArgs& args);
void check(const CrossEntropyBwdArgs& args);
Cost cost(const SoftmaxFwdArgs& args);
Cost cost(const SoftmaxBwdArgs& args);
Cost cost(const CrossEntropyFwdArgs& args);
Cost cost(const CrossEntropyBwdArgs& args);
std::string describe(const SoftmaxFwdArgs& args);
std::string describe(const SoftmaxBwdArgs& args);
std::string describe(const CrossEntropyFwdArgs& args);
std::string describe(const CrossEntropyBwdArgs& args);

extern const Op<SoftmaxFwdArgs> softmax_fwd;
extern const Op<SoftmaxBwdArgs> softmax_bwd;
extern const Op<CrossEntropyFwdArgs> cross_entropy_fwd;
extern const Op<CrossEntropyBwdArgs> cross_entropy_bwd;

}  // namespace tiller
