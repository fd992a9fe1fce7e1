#pragma once
// What the embedding kernels are launched with.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct EmbeddingFwdParams {
  View table, addend, y;      // [V,C], [N,C] or absent, [N,C]
  const std::int64_t* index;  // [N]
};
void embedding_fwd_v1(const EmbeddingFwdParams& params, Stream stream);

struct EmbeddingBwdParams {
  View dy, dtable;            // [N,C], [V,C]
  const std::int64_t* index;  // [N]
};
void embedding_bwd_v1(const EmbeddingBwdParams& params, Stream stream);

struct TimestepEmbeddingParams {
  View t, y;         // [N], [N,dim]
  float log_period;  ///< -ln(max_period)
};
void timestep_embedding_v1(const TimestepEmbeddingParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
