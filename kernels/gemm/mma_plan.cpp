// A model of what a tile costs, in units of one result's step: on an H100 a multiprocessor does
// about 32 of them in a cycle. It knows three things: the tensor cores' work is rows x width; what
// is loaded is rows + width, and weighs the more the narrower the tile; and blocks run in waves of
// one for each multiprocessor, the last of them partly empty. A split sum pays for writing its
// parts, for the counting, and for reading a tile's parts on one multiprocessor. Numbers of a
// machine are here until a tuned table of measurements takes the model's place.
#include "kernels/gemm/mma_plan.h"

#include <algorithm>

namespace tiller {

namespace {

constexpr double kLoadWeight = 24;     // results that cost as much as loading one row of a step
constexpr double kUnitsPerCycle = 32;  // of a multiprocessor
constexpr double kPartBytes = 4096;    // written in a cycle by all of them together
constexpr double kJoinBytes = 64;      // read in a cycle by one of them
constexpr double kJoinCycles = 2000;   // fences, the counter, the first loads
constexpr double kTileSteps = 6;       // filling the pipeline, and the epilogue, in steps
constexpr std::int64_t kLeastSteps = 4;
constexpr std::int64_t kMostChunk = 65536, kLeastChunk = 128;

std::int64_t divided(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t steps_of(const MmaSize& size) {
  return std::max<std::int64_t>(1, divided(size.k, step_terms(size.dtype)));
}
std::int64_t tiles_of(const MmaTile& tile, const MmaSize& size) {
  return divided(size.m, tile.rows) * divided(size.n, tile.width);
}

double cost_of(const MmaTile& tile, const MmaSize& size, std::int64_t splits) {
  const std::int64_t waves = divided(tiles_of(tile, size) * splits, kPlannedSms);
  const double step = tile.rows * tile.width + kLoadWeight * (tile.rows + tile.width);
  const double steps = static_cast<double>(divided(steps_of(size), splits)) + kTileSteps;
  const double product = static_cast<double>(waves) * steps * step;
  if (splits == 1) return product;
  const double part = 4.0 * tile.rows * tile.width;  // bytes
  const auto parts = static_cast<double>(splits);
  const double writing = parts * static_cast<double>(tiles_of(tile, size)) * part / kPartBytes;
  return product + kUnitsPerCycle * (writing + parts * part / kJoinBytes + kJoinCycles);
}

}  // namespace

int split_count(const MmaTile& tile, const MmaSize& size) {
  const std::int64_t steps = steps_of(size);
  // Reading a part back takes about as long as a step of it: with s parts a tile takes
  // steps / s + s, least at the root.
  std::int64_t root = 1;
  while ((root + 1) * (root + 1) <= steps) ++root;
  const std::int64_t wanted = std::max<std::int64_t>(
      1, std::min({kPlannedSms / tiles_of(tile, size), root, steps / kLeastSteps}));
  return static_cast<int>(divided(steps, divided(steps, wanted)));  // no part is empty
}

const char* plan_mma(const MmaSize& size, Math request) {
  const bool half = size.dtype == DType::f16 || size.dtype == DType::bf16;
  if (!half && (size.dtype != DType::f32 || request != Math::tf32)) return nullptr;
  const char* best = nullptr;
  double least = 0;
  const auto consider = [&](const char* row, double cost) {
    if (best && cost >= least) return;
    best = row;
    least = cost;
  };
  for (const MmaTile& tile : kMmaTiles) {
    if (!tile_fits(tile, size)) continue;
    consider(half ? tile.half : tile.tf32, cost_of(tile, size, 1));
    const int splits = tile.half_split ? split_count(tile, size) : 1;
    if (splits > 1) consider(half ? tile.half_split : tile.tf32_split, cost_of(tile, size, splits));
  }
  return best;
}

WgradSplit split_wgrad(std::int64_t pixels, std::int64_t tiles) {
  const std::int64_t wanted = std::max(
      divided(pixels, kMostChunk),
      std::min(divided(kPlannedSms, tiles), std::max<std::int64_t>(1, pixels / kLeastChunk)));
  // Whole steps of both dtypes: 32 pixels.
  const std::int64_t chunk = divided(divided(pixels, wanted), 32) * 32;
  return {chunk, divided(pixels, chunk)};
}

int wgrad_tile(std::int64_t k, std::int64_t columns) { return k <= 64 || columns <= 64 ? 64 : 128; }

}  // namespace tiller
