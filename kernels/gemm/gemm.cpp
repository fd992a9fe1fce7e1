#include "kernels/gemm/gemm.h"

#include <algorithm>
#include <cstring>

#include "kernels/gemm/finish.h"
#include "kernels/gemm/floats.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::int64_t kBlockTiles = 16;          // tiles of a task
constexpr std::int64_t kFreshBlockTiles = 32;     // of one that unpacks its weights first
constexpr std::int64_t kPanelBytes = 256 * 1024;  // of packed weights that stay in the cache
constexpr std::int64_t kBlockBytes = 512 * 1024;  // of a block's rows that stay beside them

// The reduction cut into stretches whose packed weights fit the cache.
std::vector<std::vector<GemmRun>> cut_runs(const Gemm& gemm) {
  const std::int64_t most = kPanelBytes / 4 / gemm.panel_columns();
  std::vector<std::vector<GemmRun>> cuts(1);
  std::int64_t room = most;
  for (GemmRun run : gemm.runs)
    while (run.length > 0) {
      if (room == 0) {
        cuts.emplace_back();
        room = most;
      }
      GemmRun piece = run;
      piece.length = std::min(run.length, room);
      cuts.back().push_back(piece);
      run.b += piece.length * gemm.panel_columns();
      run.begin += piece.length;
      run.length -= piece.length;
      room -= piece.length;
    }
  return cuts;
}

// Tiles of a task: as many as the cache holds, fewer when there would be too few tasks for all
// threads.
std::int64_t tiles_per_block(const Gemm& gemm) {
  // Unpacking is paid for by each task, so its tiles are many: a stretch reads few channels of each.
  std::int64_t channels = gemm.row_floats, most = kBlockTiles;
  if (!gemm.fresh.empty()) {
    channels = 1;
    for (const FreshStretch& stretch : gemm.fresh)
      channels = std::max(channels, stretch.end - stretch.begin);
    most = kFreshBlockTiles;
  }
  const std::int64_t tile_bytes = gemm.kernels->rows * channels * 4;
  const std::int64_t cached = std::clamp<std::int64_t>(kBlockBytes / tile_bytes, 4, most);
  const std::int64_t wanted = 4 * threads();
  return std::clamp<std::int64_t>(gemm.all_tiles() * gemm.panels() / wanted, 1, cached);
}

std::byte* bytes_of(const Tensor& t) { return static_cast<std::byte*>(t.raw()); }

// What happens to a finished tile: bias, residual, rounding, the stores, its moments.
class Epilogue {
 public:
  explicit Epilogue(const Gemm& gemm)
      : gemm_(gemm), tiles_(gemm.tiles()), size_(static_cast<std::int64_t>(size_of(gemm.dtype))) {}

  void operator()(std::int64_t tile, std::int64_t panel, float* c) const {
    const std::int64_t width = gemm_.panel_columns(), first = panel * width;
    const std::int64_t used = std::min(width, gemm_.columns - first);
    const std::int64_t image = tile / tiles_.count, within = tile % tiles_.count;
    const std::int64_t rows = tiles_.rows(within);
    const std::int64_t first_row = image * gemm_.image_rows + tiles_.begin(within);
    for (std::int64_t i = 0; i < rows; ++i) {
      float* values = c + i * width;
      RowMap::Place place{first_row + i, 0};
      if (!gemm_.map.identity() || gemm_.residual_up2x) place = gemm_.map(first_row + i);
      if (used == width && gemm_.dtype == DType::f32 && first + width <= gemm_.y0.cols()) {
        finish(place, first, values);
        continue;
      }
      if (gemm_.bias)
        for (std::int64_t k = 0; k < width; ++k) values[k] += gemm_.bias[first + k];
      if (gemm_.residual) add_residual(place, first, used, values);
      const std::int64_t split = gemm_.y0.cols() - first;  // columns that belong to y0
      if (split > 0) store(gemm_.y0, place.row, first, values, std::min(used, split));
      if (split < used) {
        const std::int64_t from = std::max<std::int64_t>(split, 0);
        store(gemm_.y1, place.row, first + from - gemm_.y0.cols(), values + from, used - from);
      }
    }
    if (gemm_.moments) write_moments(tile, first, rows, c);
  }

 private:
  void finish(const RowMap::Place& place, std::int64_t first, float* values) const {
    static constexpr float kZeros[kMaxPanelColumns] = {};
    const float* bias = gemm_.bias ? gemm_.bias + first : kZeros;
    const float* residual = nullptr;
    if (gemm_.residual)
      residual = static_cast<const float*>(gemm_.residual.raw()) + first +
                 (gemm_.residual_up2x ? place.half_row : place.row) * gemm_.residual.row_stride();
    float* y = static_cast<float*>(gemm_.y0.raw()) + place.row * gemm_.y0.row_stride() + first;
    finish_row(gemm_.panel_columns(), values, bias, residual, y);
  }

  void add_residual(const RowMap::Place& place, std::int64_t first, std::int64_t used,
                    float* values) const {
    const std::int64_t row = gemm_.residual_up2x ? place.half_row : place.row;
    const std::byte* from =
        bytes_of(gemm_.residual) + (row * gemm_.residual.row_stride() + first) * size_;
    float converted[kMaxPanelColumns];
    const float* residual = reinterpret_cast<const float*>(from);
    if (gemm_.dtype != DType::f32) {
      to_floats(from, gemm_.dtype, used, converted);
      residual = converted;
    }
    for (std::int64_t k = 0; k < used; ++k) values[k] += residual[k];
  }

  // The moments are those of the rounded values, so these replace the exact ones.
  void store(const Tensor& y, std::int64_t row, std::int64_t column, float* values,
             std::int64_t count) const {
    std::byte* to = bytes_of(y) + (row * y.row_stride() + column) * size_;
    from_floats(values, count, gemm_.dtype, to);
    if (gemm_.moments && gemm_.dtype != DType::f32) to_floats(to, gemm_.dtype, count, values);
  }

  void write_moments(std::int64_t tile, std::int64_t first, std::int64_t rows,
                     const float* c) const {
    const std::int64_t width = gemm_.panel_columns(), padded = gemm_.padded_columns();
    float* to = gemm_.moments + tile * 2 * padded + first;
    row_moments(c, width, rows, width, to, to + padded);
  }

  const Gemm& gemm_;
  const Tiles tiles_;
  const std::int64_t size_;
};

// One stretch of the reduction for one tile and panel.
void multiply(const Gemm& gemm, std::span<const GemmRun> runs, std::int64_t tile,
              std::int64_t panel, float* c, bool accumulate) {
  const Tiles tiles = gemm.tiles();
  const std::int64_t rows = tiles.rows(tile % tiles.count);
  if (gemm.strips) {
    const GemmRun& run = runs.front();
    const float* a = gemm.strips + tiles.begin(tile) * gemm.row_floats + run.begin * rows;
    const float* b = run.b + panel * run.panel_stride;
    return gemm.kernels->strip[rows](run.length, a, b, c, accumulate);
  }
  const TileKernel* kernels = gemm.narrow ? gemm.kernels->narrow : gemm.kernels->tile;
  kernels[rows](runs.data(), static_cast<std::int64_t>(runs.size()), panel,
                gemm.table + tile * gemm.segments * kMaxTileRows, c, accumulate);
}

}  // namespace

void fill_tile_strips(const Gemm& gemm, std::int64_t tile, const float* rows, std::int64_t stride,
                      std::int64_t length) {
  const Tiles tiles = gemm.tiles();
  const std::int64_t count = tiles.rows(tile);
  float* to = gemm.strips + tiles.begin(tile) * length;
  for (std::int64_t i = 0; i < count; ++i) {
    const float* from = rows + (tiles.begin(tile) + i) * stride;
    for (std::int64_t l = 0; l < length; l += kStripElements)
      std::memcpy(to + l * count + i * kStripElements, from + l, kStripElements * sizeof(float));
  }
}

void run_gemm(const Gemm& gemm) {
  const std::int64_t all_tiles = gemm.all_tiles(), panels = gemm.panels();
  if (all_tiles == 0) return;
  const std::vector<std::vector<GemmRun>> cuts =
      gemm.fresh.empty() ? cut_runs(gemm) : std::vector<std::vector<GemmRun>>();
  const std::int64_t per_block = tiles_per_block(gemm);
  const std::int64_t blocks = (all_tiles + per_block - 1) / per_block;
  const std::int64_t tile_floats = gemm.kernels->rows * gemm.panel_columns();
  const Epilogue epilogue(gemm);
  const std::size_t stretches = gemm.fresh.empty() ? cuts.size() : gemm.fresh.size();
  launch_dynamic("gemm", panels * blocks, [&](std::int64_t task) {
    alignas(64) float c[kFreshBlockTiles * kMaxTileRows * kMaxPanelColumns];
    GemmRun unpacked[kFreshTaps];
    const std::int64_t panel = task % panels, first = task / panels * per_block;
    const std::int64_t last = std::min(first + per_block, all_tiles);
    for (std::size_t s = 0; s < stretches; ++s) {
      const std::span<const GemmRun> runs =
          gemm.fresh.empty() ? std::span<const GemmRun>(cuts[s])
                             : unpack(gemm.fresh[s], panel, gemm.panel_columns(),
                                      gemm.unpacked + thread_index() * kFreshFloats, unpacked);
      for (std::int64_t tile = first; tile < last; ++tile) {
        float* sums = c + (tile - first) * tile_floats;
        multiply(gemm, runs, tile, panel, sums, s > 0);
        if (s + 1 == stretches) epilogue(tile, panel, sums);
      }
    }
  });
}

Moments moments_of(const Gemm& gemm) {
  Moments moments{gemm.moments, gemm.padded_columns(), {}};
  const Tiles tiles = gemm.tiles();
  for (std::int64_t t = 0; t < tiles.count; ++t)
    moments.counts.push_back(static_cast<float>(tiles.rows(t)));
  return moments;
}

}  // namespace tiller
