#pragma once
// The product behind the fast forward and input-gradient rows of conv2d and linear:
//
//   y[row, k] = bias[k] + residual[row, k] + sum over segments s, l: a(row, s)[l] * b[s][l][k]
//
// a(row, s) is a pointer (microkernel.h says why). Rows are cut into tiles, columns into panels;
// one task computes one panel for a block of tiles. Tasks go panel by panel through one block after
// the other: the block's rows stay in the L2 cache while the weights pass, and a stretch of a
// panel's weights stays there while the block's tiles pass. Every element of y is one chain of
// fused multiply-adds in the same order, whatever the tiling: results depend neither on the number
// of threads nor on the batch.
#include <algorithm>
#include <vector>

#include "kernels/gemm/arena.h"
#include "kernels/gemm/fresh.h"
#include "kernels/gemm/microkernel.h"
#include "kernels/gemm/moments.h"
#include "runtime/tensor.h"

namespace tiller {

/// `size` rows in nearly equal tiles of at most `most`.
struct Tiles {
  std::int64_t size, count;
  Tiles(std::int64_t rows, std::int64_t most) : size(rows), count((rows + most - 1) / most) {}
  std::int64_t begin(std::int64_t tile) const {
    return tile * (size / count) + std::min(tile, size % count);
  }
  std::int64_t rows(std::int64_t tile) const { return begin(tile + 1) - begin(tile); }
};

/// Where rows of the product lie in y: an image of height x width holds every pixel of y's height_y
/// x width_y that lies step_down and step_across apart, from (top, left) on.
struct RowMap {
  std::int64_t height, width;      ///< of the product's image
  std::int64_t height_y, width_y;  ///< of y's
  std::int64_t step_down = 1, step_across = 1, top = 0, left = 0;
  bool identity() const { return step_down == 1 && step_across == 1; }
  /// Row of y, and of an image of half y's size (an up-sampled residual).
  struct Place {
    std::int64_t row, half_row;
  };
  Place operator()(std::int64_t row) const {
    const std::int64_t pixels = height * width, n = row / pixels, pixel = row % pixels;
    const std::int64_t h = pixel / width * step_down + top, w = pixel % width * step_across + left;
    return {(n * height_y + h) * width_y + w, (n * (height_y / 2) + h / 2) * (width_y / 2) + w / 2};
  }
};

/// One product. Pointers that say "workspace" point there.
struct Gemm {
  const Microkernels* kernels;
  bool narrow = false;        ///< use narrow panels
  std::int64_t images;        ///< tiles never straddle two images
  std::int64_t image_rows;    ///< rows of each
  std::int64_t columns;       ///< K
  std::int64_t segments;      ///< pointers per row
  std::int64_t row_floats;    ///< distinct elements that a row brings into the cache
  std::vector<GemmRun> runs;  ///< the reduction, in order, over packed weights
  /// In place of runs: the reduction in stretches whose weights each task unpacks for itself.
  std::vector<FreshStretch> fresh;
  float* unpacked = nullptr;  ///< [threads][kFreshFloats]; workspace, for fresh

  DType dtype;        ///< of outputs and residual
  Tensor y0, y1;      ///< the output's columns, split between two tensors if y1 is there
  const float* bias;  ///< [K rounded up to panels], or null
  Tensor residual;    ///< or none
  bool residual_up2x = false;
  RowMap map;

  const float** table = nullptr;  ///< [tiles][segments][kMaxTileRows]; workspace
  /// In place of the table, for one segment without gaps: the rows of each tile as strips, tile
  /// after tile (kernels/gemm/microkernel.h); workspace.
  float* strips = nullptr;
  float* moments = nullptr;  ///< [tiles][2][padded K] mean and squared deviations, or null

  std::int64_t panel_columns() const { return narrow ? kernels->narrow_columns : kernels->columns; }
  std::int64_t panels() const { return (columns + panel_columns() - 1) / panel_columns(); }
  std::int64_t padded_columns() const { return panels() * panel_columns(); }
  Tiles tiles() const { return Tiles(image_rows, kernels->rows); }  ///< of one image
  std::int64_t all_tiles() const { return images * tiles().count; }
};

/// Fills the indirection table: pointers(row, to) writes row's pointer of segment s to
/// to[s * kMaxTileRows], `zeros` for padding. Call it from any thread, tile by tile.
template <class F>
void fill_tile_pointers(const Gemm& gemm, std::int64_t tile, const float* zeros,
                        const F& pointers) {
  const Tiles tiles = gemm.tiles();
  const std::int64_t image = tile / tiles.count, within = tile % tiles.count;
  const float** to = gemm.table + tile * gemm.segments * kMaxTileRows;
  for (std::int64_t i = 0; i < tiles.rows(within); ++i)
    pointers(image * gemm.image_rows + tiles.begin(within) + i, to + i);
  // At the top and bottom of an image whole tiles fall beside it for some taps.
  for (std::int64_t s = 0; s < gemm.segments; ++s, to += kMaxTileRows)
    if (std::all_of(to, to + tiles.rows(within), [&](const float* p) { return p == zeros; }))
      *to = nullptr;
}

/// Fills the strips of a tile from rows of `length` floats that lie `stride` apart.
void fill_tile_strips(const Gemm& gemm, std::int64_t tile, const float* rows, std::int64_t stride,
                      std::int64_t length);

void run_gemm(const Gemm& gemm);

/// The moments that a product left in its workspace, tile by tile, for merge_moments().
Moments moments_of(const Gemm& gemm);

}  // namespace tiller
