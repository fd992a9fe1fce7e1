#pragma once
// What the attention kernels are launched with.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Channel of (part, head, d) in a row of qkv: part * part_stride + head * head_stride + d.
struct AttentionShape {
  int samples, tokens, queries, heads, head_size;
  int part_stride, head_stride;
  float scale;  ///< 1 / sqrt(head_size)
};
inline constexpr int kMaxTokens = 4096, kMaxHeadSize = 1024;

struct AttentionFwdParams {
  AttentionShape z;
  View qkv, o;  // [N*T,3C], [N*queries,C]
  float* lse;   // [N,NH,queries] or null
};
void attention_fwd_v1(const AttentionFwdParams& params, Stream stream);
/// For heads of kSize channels: 64, 96, 128, 192, 256.
template <int kSize>
void attention_fwd_v2(const AttentionFwdParams& params, Stream stream);

struct AttentionBwdParams {
  AttentionShape z;
  View qkv, o, d_o, dqkv;
  const float* lse;  // [N,NH,queries]
  float* delta;      // [N,NH,queries]: do . o, which the sweep for dq leaves for that for dk, dv
};
void attention_bwd_v1(const AttentionBwdParams& params, Stream stream);
template <int kSize>
void attention_bwd_v2(const AttentionBwdParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
