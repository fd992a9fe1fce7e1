#pragma once
// What the reduction kernels are launched with: x seen as [outer, summed, inner], the middle of
// which is taken away (kernels/reduce/view.h).
#include "kernels/reduce/kinds.h"
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct ReduceParams {
  ReduceKind kind;
  View x, y;
  std::int64_t outer, summed, inner;
  float* partial;  ///< [outer,chunks,inner]
};
/// How many pieces the summed dimension is cut into.
std::int64_t reduce_chunks(std::int64_t summed, std::int64_t inner);
void reduce_v1(const ReduceParams& params, Stream stream);

struct BroadcastToParams {
  View x, y;
  std::int64_t summed, inner;
  float scale;
};
void broadcast_to_v1(const BroadcastToParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
