#include "kernels/simt/tma.h"

#include <algorithm>
#include <cstring>

#include "kernels/simt/block.h"

namespace tiller::executor {

namespace {

// Puts row `row` of a box into shared memory: elements [at[0], ...) of the pixel at `source`, zero
// where they do not exist. Null: the whole row does not.
void put_row(const Shadow& shadow, const TmaCopy& copy, int row, const std::byte* source) {
  const TensorMap& map = *copy.map;
  const int bytes = map.row_bytes(), element = map.element;
  const auto start = static_cast<std::size_t>(copy.to - shadow.memory());
  for (int b = 0; b < bytes; b += 16) {
    std::size_t offset = start + static_cast<std::size_t>(row * bytes + b);
    if (map.spec.swizzle_128) offset = swizzle_128(offset);
    std::byte vector[16] = {};
    for (int e = 0; source && e < 16 / element; ++e) {
      const int index = copy.at[0] + b / element + e;
      if (index >= 0 && index < map.spec.size[0])
        std::memcpy(vector + e * element, source + std::int64_t{index} * element,
                    static_cast<std::size_t>(element));
    }
    std::memcpy(shadow.memory() + offset, vector, 16);
  }
}

void copy_tiled(const Shadow& shadow, const TmaCopy& copy) {
  const TensorMapSpec& s = copy.map->spec;
  for (int row = 0; row < copy.map->rows(); ++row) {
    const auto* source = static_cast<const std::byte*>(s.data);
    int rest = row;
    bool there = true;
    for (int d = 1; d < s.rank; ++d) {
      const std::int64_t index = copy.at[static_cast<std::size_t>(d)] + rest % s.box[d];
      rest /= s.box[d];
      there = there && index >= 0 && index < s.size[d];
      source += index * s.stride[d] * copy.map->element;
    }
    put_row(shadow, copy, row, there ? source : nullptr);
  }
}

void copy_im2col(const Shadow& shadow, const TmaCopy& copy) {
  const TensorMapSpec& s = copy.map->spec;
  std::int64_t w = copy.at[1], h = copy.at[2], n = copy.at[3];
  for (int row = 0; row < s.pixels; ++row) {
    const std::int64_t column = w + copy.shift[0], line = h + copy.shift[1];
    const bool there = column >= 0 && column < s.size[1] && line >= 0 && line < s.size[2] &&
                       n >= 0 && n < s.size[3];
    put_row(shadow, copy, row,
            there ? static_cast<const std::byte*>(s.data) +
                        (column * s.stride[1] + line * s.stride[2] + n * s.stride[3]) *
                            copy.map->element
                  : nullptr);
    if (++w <= s.size[1] - 1 + s.upper[0]) continue;
    w = s.lower[0];
    if (++h <= s.size[2] - 1 + s.upper[1]) continue;
    h = s.lower[1];
    ++n;
  }
}

}  // namespace

void Tma::complete(Block& block, std::size_t i) {
  const TmaCopy copy = flying_[i];
  flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(i));
  const auto bytes = static_cast<unsigned>(copy.map->box_bytes());
  (copy.map->im2col ? copy_im2col : copy_tiled)(block.shadow(), copy);
  block.shadow().end_engine_copy(copy.to, bytes, copy.barrier, copy.where);
  block.mbarriers().complete_bytes(copy.barrier, bytes);
}

void tma_load(void* to, int elements, int element, const TensorMap& map, void* barrier, int rank,
              const int* at, const int* shift, Where where) {
  Block& block = *Block::running();
  const int bytes = map.box_bytes();
  if (rank != map.spec.rank || element != map.element)
    fault(where, "tma_load: %d coordinates for a map of rank %d", rank, map.spec.rank);
  if ((shift != nullptr) != map.im2col)
    fault(where, "tma_load: %s map",
          map.im2col ? "a tiled copy of an im2col" : "im2col of a tiled");
  if (bytes > elements * element)
    fault(where, "tma_load: a box of %d bytes into the %d that are left of the array", bytes,
          elements * element);
  const auto offset =
      static_cast<std::size_t>(static_cast<std::byte*>(to) - block.shadow().memory());
  const std::size_t alignment = map.spec.swizzle_128 ? 1024 : 128;
  if (offset % alignment != 0)
    fault(where, "tma_load: shared byte %zu is not a multiple of %zu%s", offset, alignment,
          map.spec.swizzle_128 ? ", where the swizzle's pattern begins" : "");
  TmaCopy copy{static_cast<std::byte*>(to), &map, {}, {}, 0, where};
  std::copy_n(at, rank, copy.at.begin());
  if (shift) {
    std::copy_n(shift, 2, copy.shift.begin());
    if (shift[0] < 0 || shift[0] > 255 || shift[1] < 0 || shift[1] > 255)
      fault(where, "tma_load: the tap (%d,%d) is not within 0 to 255", shift[0], shift[1]);
  }
  copy.barrier = block.mbarriers().find(barrier, "tma_load", where);
  block.shadow().begin_engine_copy(to, static_cast<std::size_t>(bytes), copy.barrier,
                                   Block::thread().linear, where);
  std::memset(to, 0xFF, static_cast<std::size_t>(bytes));
  block.tma().push(copy);
}

}  // namespace tiller::executor
