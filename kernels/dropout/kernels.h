#pragma once
// What the dropout kernel is launched with.
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct DropoutParams {
  View x, y;
  std::int64_t entries, per_entry;
  double p;
  float scale;                                            ///< of kept elements
  std::uint32_t first, sample, step, stream, key0, key1;  ///< Philox: see kernels/dropout/dropout.h
};
void dropout_v1(const DropoutParams& params, Stream stream);
void dropout_v2(const DropoutParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
