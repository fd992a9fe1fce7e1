#include "kernels/gemm/outer.h"

#include <algorithm>
#include <cmath>

#include "kernels/gemm/arena.h"
#include "kernels/gemm/floats.h"
#include "kernels/gemm/gemm.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::int64_t kChunk = 256;  // rows summed in registers
constexpr std::int64_t kMaxColumns = 32;

// One panel of columns of one segment.
struct Panel {
  std::int64_t segment;
  const OuterSource* source;
  std::int64_t begin, used;  // channels of the source
};

struct Layout {
  float* dy;  // [tiles of K][m][rows of the tile]
  std::size_t bytes;
  Layout(const Outer& outer, void* workspace) {
    Arena arena(workspace);
    dy = arena.take<float>(outer.dy.numel());
    bytes = arena.used();
  }
};

const std::byte* element(const Tensor& t, std::int64_t row, std::int64_t column) {
  return static_cast<const std::byte*>(t.raw()) +
         static_cast<std::size_t>(row * t.row_stride() + column) * size_of(t.dtype());
}

// dy's columns cut into tiles, each a dense [m][rows]; and dbias, the sum of its columns.
void pack_dy(const Outer& outer, const Tiles& tiles, float* to) {
  const std::int64_t m = outer.dy.rows();
  launch("pack_dy", tiles.count, [&](std::int64_t tile) {
    const std::int64_t first = tiles.begin(tile), rows = tiles.rows(tile);
    float* packed = to + first * m;
    float total[kMaxTileRows] = {};
    for (std::int64_t begin = 0; begin < m; begin += kChunk) {
      float sum[kMaxTileRows] = {};
      for (std::int64_t i = begin; i < std::min(begin + kChunk, m); ++i) {
        float* values = packed + i * rows;
        to_floats(element(outer.dy, i, first), outer.dy.dtype(), rows, values);
        for (std::int64_t k = 0; k < rows; ++k) sum[k] += values[k];
      }
      for (std::int64_t k = 0; k < rows; ++k) total[k] += sum[k];
    }
    if (outer.dbias) std::copy(total, total + rows, static_cast<float*>(outer.dbias.raw()) + first);
  });
}

// x's rows [begin, begin + length) of a panel: [length][width], zeros beyond its channels.
void pack_x(const Outer& outer, const Panel& panel, std::int64_t begin, std::int64_t length,
            std::int64_t width, float* to) {
  const Tensor& x = panel.source->x;
  for (std::int64_t i = 0; i < length; ++i, to += width) {
    const std::int64_t row = outer.row(begin + i, panel.segment);
    if (row < 0) {
      std::fill(to, to + width, 0.0f);
      continue;
    }
    to_floats(element(x, row, panel.begin), x.dtype(), panel.used, to);
    if (outer.silu)
      for (std::int64_t c = 0; c < panel.used; ++c) to[c] = to[c] / (1 + std::exp(-to[c]));
    std::fill(to + panel.used, to + width, 0.0f);
  }
}

}  // namespace

std::size_t outer_workspace(const Outer& outer) { return Layout(outer, nullptr).bytes; }

void run_outer(const Outer& outer, void* workspace) {
  const Layout layout(outer, workspace);
  const std::int64_t m = outer.dy.rows(), outputs = outer.dy.cols();
  const Tiles tiles(outputs, outer.kernels->rows);
  pack_dy(outer, tiles, layout.dy);

  std::int64_t channels = 0, widest = 0;
  for (const OuterSource& source : outer.sources) {
    channels += source.x.cols();
    widest = std::max(widest, source.x.cols());
  }
  const bool narrow = widest <= outer.kernels->narrow_columns;
  const std::int64_t width = narrow ? outer.kernels->narrow_columns : outer.kernels->columns;
  const OuterKernel* kernels = narrow ? outer.kernels->outer_narrow : outer.kernels->outer;
  std::vector<Panel> panels;
  for (std::int64_t s = 0; s < outer.segments; ++s)
    for (const OuterSource& source : outer.sources)
      for (std::int64_t c = 0; c < source.x.cols(); c += width)
        panels.push_back({s, &source, c, std::min(width, source.x.cols() - c)});

  // A task is one panel for a group of tiles: all of them, unless that leaves threads idle.
  const auto count = static_cast<std::int64_t>(panels.size());
  const std::int64_t groups =
      std::clamp<std::int64_t>((4 * threads() + count - 1) / count, 1, tiles.count);
  const Tiles grouped(tiles.count, (tiles.count + groups - 1) / groups);
  auto* dw = static_cast<float*>(outer.dw.raw());
  launch("outer", count * grouped.count, [&](std::int64_t task) {
    alignas(64) float x[kChunk * kMaxColumns];
    alignas(64) float sum[kMaxTileRows * kMaxColumns];
    const Panel& panel = panels[static_cast<std::size_t>(task / grouped.count)];
    const std::int64_t group = task % grouped.count;
    const std::int64_t stride = outer.segments * channels;
    float* to = dw + panel.segment * channels + panel.source->column + panel.begin;
    for (std::int64_t begin = 0; begin == 0 || begin < m; begin += kChunk) {
      const std::int64_t length = std::min(kChunk, m - begin);
      pack_x(outer, panel, begin, length, width, x);
      for (std::int64_t t = grouped.begin(group); t < grouped.begin(group + 1); ++t) {
        const std::int64_t first = tiles.begin(t), rows = tiles.rows(t);
        kernels[rows](length, layout.dy + first * m + begin * rows, x, sum);
        for (std::int64_t k = 0; k < rows; ++k) {
          float* row = to + (first + k) * stride;
          const float* add = sum + k * width;
          if (begin == 0)
            std::copy(add, add + panel.used, row);
          else
            for (std::int64_t c = 0; c < panel.used; ++c) row[c] += add[c];
        }
      }
    }
  });
}

}  // namespace tiller
