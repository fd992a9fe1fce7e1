#pragma once
#include <cstdint>

#include "runtime/dtype.h"

namespace tiller {

/// A tensor and the box that one TMA copy takes from it. Dimensions, coordinates and corners go
/// from the innermost (contiguous) outwards: a matrix [M,K] has size {K, M}, an NHWC image {C, W, H,
/// N}. In shared memory a box is dense, its 16-byte vectors swizzled over 128 bytes if asked.
struct TensorMapSpec {
  const void* data = nullptr;  ///< aligned to 16 bytes
  DType dtype = DType::f16;
  int rank = 2;
  std::int64_t size[5] = {};
  std::int64_t stride[5] = {};  ///< elements; stride[0] is 1; the others 16 m bytes
  int box[5] = {};              ///< tiled: elements of each dimension, at most 256
  bool swizzle_128 = false;     ///< rows of a box are then at most 128 bytes

  // im2col (images of rank 4): a box is `pixels` positions of a window's top left corner, `channels`
  // of each. The corner moves within [lower, size - 1 + upper] along W, then H, then N.
  int channels = 0, pixels = 0;
  int lower[2] = {}, upper[2] = {};  ///< of W and H
};

}  // namespace tiller
