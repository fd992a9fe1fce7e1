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

constexpr std::int64_t kChunk = 256;       // rows summed in registers
constexpr std::int64_t kTasks = 32;        // that work is cut into
constexpr std::int64_t kTogether = 8;      // panels that share a pass over dy, at the most
constexpr std::int64_t kFewestChunks = 4;  // of a slice
constexpr std::int64_t kMaxColumns = 32;
constexpr std::int64_t kBiasColumns = 16;  // of dy, summed side by side

// One panel of columns: some channels of one segment, or all channels of a few segments, which
// stand side by side in dw.
struct Panel {
  std::int64_t segment, segments;
  const OuterSource* source;
  std::int64_t begin, channels;  // of the source, from each segment
  std::int64_t used() const { return segments * channels; }
};

// How the columns of dw are cut into panels, panels into groups, and dy's rows into slices: a task is
// a group over a slice. A chunk of dy, once in the cache, meets all panels of the group.
struct Cut {
  const OuterKernel* kernels;
  std::int64_t width;    // of a panel
  std::int64_t columns;  // of dw
  std::vector<Panel> panels;
  std::int64_t together, groups, slices;

  explicit Cut(const Outer& outer) : columns(0) {
    std::int64_t widest = 0;
    for (const OuterSource& source : outer.sources) {
      columns += outer.segments * source.x.cols();
      widest = std::max(widest, source.x.cols());
    }
    // Of a picture's three channels a panel would be nearly empty: it takes several taps' of them.
    const std::int64_t taps =
        outer.sources.size() == 1 && widest > 0
            ? std::clamp<std::int64_t>(outer.kernels->columns / widest, 1, outer.segments)
            : 1;
    const bool narrow = taps * widest <= outer.kernels->narrow_columns;
    width = narrow ? outer.kernels->narrow_columns : outer.kernels->columns;
    kernels = narrow ? outer.kernels->outer_narrow : outer.kernels->outer;
    for (std::int64_t s = 0; s < outer.segments; s += taps)
      for (const OuterSource& source : outer.sources)
        for (std::int64_t c = 0; c < source.x.cols(); c += width)
          panels.push_back({s, std::min(taps, outer.segments - s), &source, c,
                            std::min(width, source.x.cols() - c)});
    const auto count = static_cast<std::int64_t>(panels.size());
    together = std::clamp<std::int64_t>(count / kTasks, 1, kTogether);
    groups = (count + together - 1) / together;
    const std::int64_t chunks = (outer.dy.rows() + kChunk - 1) / kChunk;
    slices = std::clamp<std::int64_t>(kTasks / std::max<std::int64_t>(groups, 1), 1,
                                      std::max<std::int64_t>(chunks / kFewestChunks, 1));
  }
};

struct Layout {
  FloatRows dy;
  std::int32_t* rows = nullptr;  // [segments][m]: row of the sources, or -1
  float* sums;                   // [slices - 1][K][columns]: of all slices but the first
  float* biases = nullptr;       // [slices][K]
  std::size_t bytes;
  Layout(const Outer& outer, const Cut& cut, void* workspace) {
    Arena arena(workspace);
    dy = float_rows(outer.dy, arena);
    if (outer.rows) rows = arena.take<std::int32_t>(outer.segments * outer.dy.rows());
    sums = arena.take<float>((cut.slices - 1) * outer.dy.cols() * cut.columns);
    if (outer.dbias) biases = arena.take<float>(cut.slices * outer.dy.cols());
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

// Adds the sums of a chunk's columns, or begins with them.
void add_bias(const FloatRows& dy, std::int64_t first, std::int64_t length, std::int64_t outputs,
              bool begin, float* to) {
  for (std::int64_t k = 0; k < outputs; k += kBiasColumns) {
    const std::int64_t count = std::min(kBiasColumns, outputs - k);
    float sum[kBiasColumns] = {};
    if (count == kBiasColumns)
      for (std::int64_t i = 0; i < length; ++i)
        for (std::int64_t j = 0; j < kBiasColumns; ++j) sum[j] += dy.row(first + i)[k + j];
    else
      for (std::int64_t i = 0; i < length; ++i)
        for (std::int64_t j = 0; j < count; ++j) sum[j] += dy.row(first + i)[k + j];
    for (std::int64_t j = 0; j < count; ++j) to[k + j] = begin ? sum[j] : to[k + j] + sum[j];
  }
}

// x's rows of a panel, as rows[segment * m + i] names them (null: from `first` on): [length][width],
// zeros beyond its channels.
void pack_x(const Outer& outer, const Panel& panel, const std::int32_t* rows, std::int64_t m,
            std::int64_t first, std::int64_t length, std::int64_t width, float* to) {
  const Tensor& x = panel.source->x;
  constexpr std::int64_t kFull = 32;
  if (rows && x.dtype() == DType::f32 && panel.channels == kFull && width == kFull && !outer.silu) {
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
      const std::int64_t row = rows ? rows[s * m + i] : first + i;
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

// One group of panels over one slice of dy's rows.
void run_task(const Outer& outer, const Cut& cut, const Layout& layout, std::int64_t slice,
              std::int64_t group) {
  alignas(64) float gathered[kChunk * kMaxColumns];
  alignas(64) float sum[kMaxTileRows * kMaxColumns];
  const std::int64_t m = outer.dy.rows(), outputs = outer.dy.cols();
  const Tiles tiles(outputs, outer.kernels->rows);
  const std::int64_t chunks = (m + kChunk - 1) / kChunk;
  const auto begin_of = [&](std::int64_t s) {
    return std::min(m, chunks * s / cut.slices * kChunk);
  };
  const std::int64_t start = begin_of(slice), end = begin_of(slice + 1);
  float* dw = slice == 0 ? static_cast<float*>(outer.dw.raw())
                         : layout.sums + (slice - 1) * outputs * cut.columns;
  const std::int64_t channels = cut.columns / outer.segments;
  const auto last =
      std::min((group + 1) * cut.together, static_cast<std::int64_t>(cut.panels.size()));
  for (std::int64_t first = start; first == start || first < end; first += kChunk) {
    const std::int64_t length = std::min(kChunk, end - first);
    for (std::int64_t p = group * cut.together; p < last; ++p) {
      const Panel& panel = cut.panels[static_cast<std::size_t>(p)];
      const Tensor& source = panel.source->x;
      const float* x = gathered;
      std::int64_t stride = cut.width;
      if (!layout.rows && source.dtype() == DType::f32 && panel.channels == cut.width &&
          !outer.silu) {
        stride = source.row_stride();
        x = static_cast<const float*>(source.raw()) + first * stride + panel.begin;
      } else {
        const std::int32_t* rows = layout.rows ? layout.rows + panel.segment * m + first : nullptr;
        pack_x(outer, panel, rows, m, first, length, cut.width, gathered);
      }
      float* to = dw + panel.segment * channels + panel.source->column + panel.begin;
      for (std::int64_t t = 0; t < tiles.count; ++t) {
        const std::int64_t k = tiles.begin(t), rows = tiles.rows(t);
        cut.kernels[rows](length, layout.dy.row(first) + k, layout.dy.stride, x, stride, sum);
        add_sums(sum, cut.width, rows, panel.used(), first == start, to + k * cut.columns,
                 cut.columns);
      }
    }
    if (group == 0 && outer.dbias)
      add_bias(layout.dy, first, length, outputs, first == start, layout.biases + slice * outputs);
  }
}

// Adds the slices' sums, in order.
void merge(const Outer& outer, const Cut& cut, const Layout& layout) {
  const std::int64_t outputs = outer.dy.cols(), numbers = outputs * cut.columns;
  if (outer.dbias) {
    auto* dbias = static_cast<float*>(outer.dbias.raw());
    std::copy_n(layout.biases, outputs, dbias);
    for (std::int64_t slice = 1; slice < cut.slices; ++slice)
      for (std::int64_t k = 0; k < outputs; ++k) dbias[k] += layout.biases[slice * outputs + k];
  }
  if (cut.slices == 1) return;
  launch("outer_merge", outputs, [&](std::int64_t k) {
    float* to = static_cast<float*>(outer.dw.raw()) + k * cut.columns;
    for (std::int64_t slice = 1; slice < cut.slices; ++slice) {
      const float* from = layout.sums + (slice - 1) * numbers + k * cut.columns;
      for (std::int64_t c = 0; c < cut.columns; ++c) to[c] += from[c];
    }
  });
}

}  // namespace

std::size_t outer_workspace(const Outer& outer) { return Layout(outer, Cut(outer), nullptr).bytes; }

void run_outer(const Outer& outer, void* workspace) {
  const Cut cut(outer);
  const Layout layout(outer, cut, workspace);
  if (outer.rows)
    launch("outer_rows", outer.segments, [&](std::int64_t segment) {
      outer.rows(segment, layout.rows + segment * outer.dy.rows());
    });
  launch_dynamic("outer", cut.groups * cut.slices, [&](std::int64_t task) {
    run_task(outer, cut, layout, task / cut.groups, task % cut.groups);
  });
  merge(outer, cut, layout);
}

}  // namespace tiller
