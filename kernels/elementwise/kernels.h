#pragma once
// What the elementwise kernels are launched with.
#include "kernels/elementwise/kinds.h"
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

struct UnaryParams {
  UnaryKind kind;
  View x, y;
  float a, b;
};
void unary_v1(const UnaryParams& params, Stream stream);
void unary_v2(const UnaryParams& params, Stream stream);

struct SiluBwdParams {
  View x, dy, dx;
};
void silu_bwd_v1(const SiluBwdParams& params, Stream stream);
void silu_bwd_v2(const SiluBwdParams& params, Stream stream);

struct BinaryParams {
  BinaryKind kind;
  Broadcast broadcast;
  View a, b, y;
  std::int64_t per_sample;  ///< elements of one entry of the first dimension
  float alpha, beta;
};
void binary_v1(const BinaryParams& params, Stream stream);
void binary_v2(const BinaryParams& params, Stream stream);

struct WhereParams {
  View mask, a, b, y;
  std::int64_t per_mask;  ///< elements that one element of the mask decides on
};
void where_v1(const WhereParams& params, Stream stream);
void where_v2(const WhereParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
