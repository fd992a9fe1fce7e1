#include "kernels/gemm/outer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/gemm/arena.h"
#include "kernels/gemm/floats.h"
#include "kernels/gemm/gemm.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::int64_t kChunk = 256;   // rows summed in registers
constexpr std::int64_t kTogether = 8;  // panels that share a pass over dy
constexpr std::int64_t kMaxColumns = 32;

// One panel of columns: some channels of one segment, or all channels of a few segments, which
// stand side by side in dw.
struct Panel {
  std::int64_t segment, segments;
  const OuterSource* source;
  std::int64_t begin, channels;  // of the source, from each segment
  std::int64_t used() const { return segments * channels; }
};

struct Layout {
  float* dy;           // [tiles of K][m][rows of the tile]
  std::int32_t* rows;  // [segments][m]: row of the sources, or -1
  std::size_t bytes;
  Layout(const Outer& outer, void* workspace) {
    Arena arena(workspace);
    dy = arena.take<float>(outer.dy.numel());
    rows = arena.take<std::int32_t>(outer.segments * outer.dy.rows());
    bytes = arena.used();
  }
};

const std::byte* element(const Tensor& t, std::int64_t row, std::int64_t column) {
  return static_cast<const std::byte*>(t.raw()) +
         static_cast<std::size_t>(row * t.row_stride() + column) * size_of(t.dtype());
}

// Copies a short row; a call per 14 numbers would cost more than the numbers.
void read_row(const Tensor& t, std::int64_t row, std::int64_t column, std::int64_t count,
              float* to) {
  const std::byte* from = element(t, row, column);
  if (t.dtype() != DType::f32) return to_floats(from, t.dtype(), count, to);
  const auto* values = reinterpret_cast<const float*>(from);
  for (std::int64_t k = 0; k < count; ++k) to[k] = values[k];
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
        read_row(outer.dy, i, first, rows, values);
        for (std::int64_t k = 0; k < rows; ++k) sum[k] += values[k];
      }
      for (std::int64_t k = 0; k < rows; ++k) total[k] += sum[k];
    }
    if (outer.dbias) std::copy(total, total + rows, static_cast<float*>(outer.dbias.raw()) + first);
  });
}

// x's rows of a panel, as rows[segment * m + i] names them: [length][width], zeros beyond its
// channels.
void pack_x(const Outer& outer, const Panel& panel, const std::int32_t* rows, std::int64_t m,
            std::int64_t length, std::int64_t width, float* to) {
  const Tensor& x = panel.source->x;
  constexpr std::int64_t kFull = 32;
  if (x.dtype() == DType::f32 && panel.channels == kFull && width == kFull && !outer.silu) {
    const float* base = static_cast<const float*>(x.raw()) + panel.begin;
    for (std::int64_t i = 0; i < length; ++i, to += kFull) {
      if (rows[i] < 0)
        std::fill_n(to, kFull, 0.0f);
      else
        std::memcpy(to, base + rows[i] * x.row_stride(), kFull * sizeof(float));
    }
    return;
  }
  for (std::int64_t i = 0; i < length; ++i, to += width) {
    float* channels = to;
    for (std::int64_t s = 0; s < panel.segments; ++s, channels += panel.channels) {
      const std::int32_t row = rows[s * m + i];
      if (row < 0)
        std::fill(channels, channels + panel.channels, 0.0f);
      else
        read_row(x, row, panel.begin, panel.channels, channels);
    }
    if (outer.silu)
      for (float* c = to; c < channels; ++c) *c = *c / (1 + std::exp(-*c));
    std::fill(channels, to + width, 0.0f);
  }
}

// Adds a tile's sums to dw, or begins it.
void add_sums(const float* sum, std::int64_t width, std::int64_t rows, std::int64_t used,
              bool begin, float* to, std::int64_t stride) {
  for (std::int64_t k = 0; k < rows; ++k, sum += width, to += stride) {
    if (begin)
      for (std::int64_t c = 0; c < used; ++c) to[c] = sum[c];
    else
      for (std::int64_t c = 0; c < used; ++c) to[c] += sum[c];
  }
}

}  // namespace

std::size_t outer_workspace(const Outer& outer) { return Layout(outer, nullptr).bytes; }

void run_outer(const Outer& outer, void* workspace) {
  const Layout layout(outer, workspace);
  const std::int64_t m = outer.dy.rows(), outputs = outer.dy.cols();
  const Tiles tiles(outputs, outer.kernels->rows);
  pack_dy(outer, tiles, layout.dy);
  launch("outer_rows", outer.segments,
         [&](std::int64_t segment) { outer.rows(segment, layout.rows + segment * m); });

  std::int64_t channels = 0, widest = 0;
  for (const OuterSource& source : outer.sources) {
    channels += source.x.cols();
    widest = std::max(widest, source.x.cols());
  }
  // Of a picture's three channels a panel would be nearly empty: it takes several taps' of them.
  const std::int64_t taps =
      outer.sources.size() == 1 && widest > 0
          ? std::clamp<std::int64_t>(outer.kernels->columns / widest, 1, outer.segments)
          : 1;
  const bool narrow = taps * widest <= outer.kernels->narrow_columns;
  const std::int64_t width = narrow ? outer.kernels->narrow_columns : outer.kernels->columns;
  const OuterKernel* kernels = narrow ? outer.kernels->outer_narrow : outer.kernels->outer;
  std::vector<Panel> panels;
  for (std::int64_t s = 0; s < outer.segments; s += taps)
    for (const OuterSource& source : outer.sources)
      for (std::int64_t c = 0; c < source.x.cols(); c += width)
        panels.push_back({s, std::min(taps, outer.segments - s), &source, c,
                          std::min(width, source.x.cols() - c)});

  // A task is a few panels for all tiles (for a group of tiles, where that leaves threads idle): a
  // chunk of dy, once in the cache, meets all of them.
  const auto count = static_cast<std::int64_t>(panels.size());
  const std::int64_t wanted = 4 * threads();
  const std::int64_t together = std::clamp<std::int64_t>(count / wanted, 1, kTogether);
  const std::int64_t tasks = (count + together - 1) / together;
  const std::int64_t groups =
      std::clamp<std::int64_t>((wanted + tasks - 1) / tasks, 1, tiles.count);
  const Tiles grouped(tiles.count, (tiles.count + groups - 1) / groups);
  auto* dw = static_cast<float*>(outer.dw.raw());
  launch_dynamic("outer", tasks * grouped.count, [&](std::int64_t task) {
    alignas(64) float x[kChunk * kMaxColumns];
    alignas(64) float sum[kMaxTileRows * kMaxColumns];
    const std::int64_t group = task % grouped.count, panel = task / grouped.count * together;
    const std::int64_t stride = outer.segments * channels;
    for (std::int64_t begin = 0; begin == 0 || begin < m; begin += kChunk) {
      const std::int64_t length = std::min(kChunk, m - begin);
      for (std::int64_t p = panel; p < std::min(panel + together, count); ++p) {
        const Panel& at = panels[static_cast<std::size_t>(p)];
        float* to = dw + at.segment * channels + at.source->column + at.begin;
        pack_x(outer, at, layout.rows + at.segment * m + begin, m, length, width, x);
        for (std::int64_t t = grouped.begin(group); t < grouped.begin(group + 1); ++t) {
          const std::int64_t first = tiles.begin(t), rows = tiles.rows(t);
          kernels[rows](length, layout.dy + first * m + begin * rows, rows, x, width, sum);
          add_sums(sum, width, rows, at.used(), begin == 0, to + first * stride, stride);
        }
      }
    }
  });
}

}  // namespace tiller
