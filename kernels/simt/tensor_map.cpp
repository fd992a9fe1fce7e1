#include "kernels/simt/tensor_map.h"

#include "runtime/error.h"

namespace tiller::executor {

int TensorMap::rows() const {
  if (im2col) return spec.pixels;
  int rows = 1;
  for (int d = 1; d < spec.rank; ++d) rows *= spec.box[d];
  return rows;
}

int TensorMap::row_bytes() const { return (im2col ? spec.channels : spec.box[0]) * element; }

TensorMap check_tensor_map(const TensorMapSpec& spec, bool im2col) {
  const TensorMap map{spec, im2col, static_cast<int>(size_of(spec.dtype))};
  const char* what = im2col ? "im2col_map" : "tiled_map";
  TILLER_CHECK(spec.rank >= 1 && spec.rank <= 5 && (!im2col || spec.rank == 4),
               "{}: rank {}; tiled maps have 1 to 5, im2col 4", what, spec.rank);
  TILLER_CHECK(spec.data && reinterpret_cast<std::uintptr_t>(spec.data) % 16 == 0,
               "{}: the tensor is not aligned to 16 bytes", what);
  TILLER_CHECK(spec.stride[0] == 1, "{}: the innermost dimension is not contiguous", what);
  for (int d = 0; d < spec.rank; ++d) {
    TILLER_CHECK(spec.size[d] >= 1 && spec.size[d] <= std::int64_t{1} << 32,
                 "{}: size {} of dimension {}", what, spec.size[d], d);
    TILLER_CHECK(d == 0 || (spec.stride[d] * map.element % 16 == 0 &&
                            spec.stride[d] * map.element < std::int64_t{1} << 40),
                 "{}: the stride of dimension {} is {} bytes, which is no multiple of 16", what, d,
                 spec.stride[d] * map.element);
    TILLER_CHECK(im2col || (spec.box[d] >= 1 && spec.box[d] <= 256),
                 "{}: a box of {} along dimension {}; 1 to 256 are possible", what, spec.box[d], d);
  }
  if (im2col) {
    TILLER_CHECK(
        spec.channels >= 1 && spec.channels <= 256 && spec.pixels >= 1 && spec.pixels <= 1024,
        "{}: a box of {} channels of {} pixels; at most 256 of 1024 are possible", what,
        spec.channels, spec.pixels);
    for (int d = 0; d < 2; ++d)
      TILLER_CHECK(spec.lower[d] >= -128 && spec.lower[d] <= 127 && spec.upper[d] >= -128 &&
                       spec.upper[d] <= 127 && spec.lower[d] < spec.size[d + 1] + spec.upper[d],
                   "{}: corners {} and {} of dimension {}", what, spec.lower[d], spec.upper[d], d);
  }
  TILLER_CHECK(map.row_bytes() % 16 == 0,
               "{}: rows of a box are {} bytes, which is no multiple of 16", what, map.row_bytes());
  TILLER_CHECK(!spec.swizzle_128 || map.row_bytes() <= 128,
               "{}: rows of a box are {} bytes, wider than the swizzle's 128", what,
               map.row_bytes());
  return map;
}

}  // namespace tiller::executor
