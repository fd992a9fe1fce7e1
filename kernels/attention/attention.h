#pragma once
// Multi-head self-attention, not causal: o = softmax(q k^T / sqrt(D)) v per head. q and k are each
// scaled by D^-1/4 in PyTorch's code; the product is the same. Softmax in f32 (f64 with f64).
#include "runtime/op.h"

namespace tiller {

/// How the 3C channels of qkv are ordered. The names are guided-diffusion's.
enum class QkvOrder : std::uint8_t {
  legacy,  ///< [head][q,k,v][d]: QKVAttentionLegacy
  split,   ///< [q,k,v][head][d]: QKVAttention, --use_new_attention_order
};

const char* name(QkvOrder order);

/// Channel of (part, head, d): part * part_stride + head * head_stride + d; part 0, 1, 2 = q, k, v.
struct QkvStrides {
  std::int64_t part, head;
};
QkvStrides qkv_strides(QkvOrder order, std::int64_t heads, std::int64_t head_size);

struct AttentionFwdArgs {
  Tensor qkv;  // [N,T,3C]
  Tensor o;    // [N,T,C] out, heads side by side; with one_query [N,1,C]
  Tensor lse;  // [N,NH,T] out f32 (f64 with f64), or none: log of the softmax's denominator (max
               // included), for the backward; with one_query [N,NH,1]
  std::int64_t heads = 1;
  QkvOrder order = QkvOrder::legacy;
  bool one_query = false;  ///< only token 0 asks (the classifier's attention pool)

  Device device() const { return o.device(); }
  DType dtype() const { return o.dtype(); }
};

struct AttentionBwdArgs {
  Tensor qkv;   // [N,T,3C]
  Tensor o;     // [N,T,C] or [N,1,C]
  Tensor lse;   // [N,NH,T] or [N,NH,1]
  Tensor d_o;   // like o
  Tensor dqkv;  // [N,T,3C] out
  std::int64_t heads = 1;
  QkvOrder order = QkvOrder::legacy;
  bool one_query = false;

  Device device() const { return dqkv.device(); }
  DType dtype() const { return dqkv.dtype(); }
};

void check(const AttentionFwdArgs& args);
void check(const AttentionBwdArgs& args);
Cost cost(const AttentionFwdArgs& args);
Cost cost(const AttentionBwdArgs& args);
std::string describe(const AttentionFwdArgs& args);
std::string describe(const AttentionBwdArgs& args);

extern const Op<AttentionFwdArgs> attention_fwd;
extern const Op<AttentionBwdArgs> attention_bwd;

}  // namespace tiller
