#pragma once
// What the softmax kernels are launched with.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct SoftmaxFwdParams {
  View x, y;  // [M,K]
  bool log;
};
void softmax_fwd_v1(const SoftmaxFwdParams& params, Stream stream);

struct SoftmaxBwdParams {
  View y, dy, dx;  // [M,K]
  bool log;
};
void softmax_bwd_v1(const SoftmaxBwdParams& params, Stream stream);

struct CrossEntropyFwdParams {
  View logits;                 // [M,K]
  const std::int64_t* labels;  // [M]
  float* loss;                 // [M]
};
void cross_entropy_fwd_v1(const CrossEntropyFwdParams& params, Stream stream);

struct CrossEntropyBwdParams {
  View logits, dlogits;        // [M,K]
  const std::int64_t* labels;  // [M]
  const float* dloss;          // [M]
};
void cross_entropy_bwd_v1(const CrossEntropyBwdParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
