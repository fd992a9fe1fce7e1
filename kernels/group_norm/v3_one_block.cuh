#pragma once
// What the one-block group norm kernels share: a block has one group of one sample, reads its
// elements once and keeps them in registers. A thread owns one vector of the group's channels, as
// wide as the group's size, where it begins and both sources allow, and walks over pixels: row,
// row + rows, ... With pool these are output pixels, four input pixels each.
#include "kernels/group_norm/kernels.h"
#include "kernels/group_norm/v2_vectors.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

struct GroupPlace {
  std::int64_t n, group, channel;  ///< channel: the vector's first
  int size, row, rows, units;      ///< units: pixels, or output pixels with pool
};

template <int kWidth>
__device__ __forceinline__ GroupPlace group_place(const GroupNormInput& in) {
  const int thread = static_cast<int>(threadIdx.x);
  GroupPlace at;
  at.n = blockIdx.y;
  at.group = blockIdx.x;
  at.size = static_cast<int>(in.channels / in.groups);
  at.units = static_cast<int>(in.pool ? in.pixels / 4 : in.pixels);
  const int columns = at.size / kWidth;
  at.rows = static_cast<int>(blockDim.x) / columns;
  at.row = thread / columns;
  at.channel = at.group * at.size + (thread - at.row * columns) * kWidth;
  if (at.row >= at.rows) at.row = at.units;  // a thread beyond the last whole row sees nothing
  return at;
}

/// Vector i of a thread: its output pixel, and the input pixel.
template <bool kPool>
__device__ __forceinline__ int unit_of(const GroupPlace& at, int i) {
  return at.row + (kPool ? i / 4 : i) * at.rows;
}
template <bool kPool>
__device__ __forceinline__ std::int64_t pixel_of(const GroupNormInput& in, int unit, int i) {
  return kPool ? pooled_pixel(in, unit, i % 4) : unit;
}

template <int kWidth>
struct Width {
  static constexpr int value = kWidth;
};
/// run(T{}, Width<...>()) with the element type and the width of vectors of a call.
template <class Run>
void for_vectors(DType dtype, unsigned vector, const Run& run) {
  const auto of = [&](auto zero) {
    if (vector == 2) return run(zero, Width<2>());
    if (vector == 4) return run(zero, Width<4>());
    if constexpr (sizeof(zero) == 2) run(zero, Width<8>());
  };
  if (dtype == DType::f16) return of(f16());
  if (dtype == DType::bf16) return of(bf16());
  of(0.0f);
}

inline dim3 one_block_grid(const GroupNormInput& in) {
  return dim3(static_cast<unsigned>(in.groups), static_cast<unsigned>(in.samples));
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
