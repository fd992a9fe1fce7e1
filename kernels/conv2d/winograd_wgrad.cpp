// The weight gradient of the Winograd rows: for each of the 36 products a matrix product over the
// tiles of all images,
//
//   m[e][k][c] = sum over tiles t: (A dY_t A^T)[e][k] * (B^T d_t B)[e][c]
//
// and dw = G^T m G at the end (winograd_transforms.h).
#include <algorithm>

#include "kernels/conv2d/sizes.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/gemm/arena.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

// Tiles that are transformed and multiplied at a time: many enough to pay for adding their sums to
// m, few enough to stay in the cache.
constexpr std::int64_t kFewestTiles = 128, kMostTiles = 512;
constexpr std::int64_t kChunkFloats = std::int64_t{3} << 20;
constexpr std::int64_t kPixels = kWinogradTile * kWinogradTile;
constexpr std::int64_t kMaxColumns = 32;
constexpr std::int64_t kBiasRows = 256;  // that are summed by themselves

// Transformed tiles [36][tiles][channels], with room behind each row and each product: an odd
// number of cache lines apart, rows do not meet in one set of the cache.
struct Transformed {
  float* values = nullptr;
  std::int64_t stride, product;
  Transformed(std::int64_t channels, std::int64_t tiles)
      : stride((channels + 31) / 32 * 32 + 16), product(tiles * stride + 16) {}
  std::int64_t floats() const { return kWinogradProducts * product; }
  float* at(std::int64_t e, std::int64_t tile) const {
    return values + e * product + tile * stride;
  }
};

template <class Isa>
class Plan {
 public:
  Plan(const Conv2dWgradArgs& args, void* workspace)
      : args_(args),
        z_(args),
        kernels_(Isa::kernels()),
        down_((z_.p + kWinogradTile - 1) / kWinogradTile),
        across_((z_.q + kWinogradTile - 1) / kWinogradTile),
        all_tiles_(z_.n * down_ * across_),
        chunk_(std::clamp<std::int64_t>(kChunkFloats / (kWinogradProducts * (z_.c + z_.k)),
                                        kFewestTiles, kMostTiles)),
        columns_((z_.c + kernels_.columns - 1) / kernels_.columns * kernels_.columns),
        x_(columns_, std::min(chunk_, all_tiles_)),
        dy_(z_.k, std::min(chunk_, all_tiles_)) {
    Arena arena(workspace);
    zeros_ = arena.take<float>(std::max(z_.c, z_.k));
    x_.values = arena.take<float>(x_.floats());
    dy_.values = arena.take<float>(dy_.floats());
    m_ = arena.take<float>(kWinogradProducts * z_.k * columns_);
    bytes_ = arena.used();
  }

  std::size_t bytes() const { return bytes_; }

  void run() {
    std::fill(zeros_, zeros_ + std::max(z_.c, z_.k), 0.0f);
    for (std::int64_t first = 0; first < all_tiles_; first += chunk_) {
      const std::int64_t count = std::min(chunk_, all_tiles_ - first);
      launch("winograd_input", count,
             [&](std::int64_t tile) { transform(place(first + tile), tile); });
      const std::int64_t panels = columns_ / kernels_.columns;
      launch_dynamic("winograd_outer", kWinogradProducts * panels, [&](std::int64_t task) {
        multiply(task / panels, task % panels, count, first == 0);
      });
    }
    launch("winograd_dw", z_.k, [&](std::int64_t k) { finish(k); });
    if (args_.dbias) sum_bias();
  }

 private:
  struct Place {
    std::int64_t n, top, left;  // of a tile's first pixel of dy
  };
  Place place(std::int64_t tile) const {
    const std::int64_t at = tile % (down_ * across_);
    return {tile / (down_ * across_), at / across_ * kWinogradTile, at % across_ * kWinogradTile};
  }

  // Both operands of one tile. Beside the images the pixels are zeros.
  void transform(const Place& at, std::int64_t tile) const {
    const float* pixels[kWinogradProducts];
    std::int64_t channel = 0;
    for (const Tensor* source : {&args_.x0, &args_.x1}) {
      if (!*source) continue;
      const auto* x = static_cast<const float*>(source->raw());
      for (std::int64_t e = 0; e < kWinogradProducts; ++e) {
        const std::int64_t row =
            z_.source_row(at.n, at.top, at.left, e / kWinogradPatch, e % kWinogradPatch);
        pixels[e] = row < 0 ? zeros_ : x + row * source->row_stride();
      }
      winograd_transforms<Isa>().input(pixels, source->cols(), channel,
                                       {x_.at(0, tile), x_.product, kStripElements});
      channel += source->cols();
    }
    for (std::int64_t e = 0; e < kWinogradProducts; ++e)  // of the last panel
      std::fill(x_.at(e, tile) + channel, x_.at(e, tile) + columns_, 0.0f);
    const auto* dy = static_cast<const float*>(args_.dy.raw());
    for (std::int64_t e = 0; e < kPixels; ++e) {
      const std::int64_t p = at.top + e / kWinogradTile, q = at.left + e % kWinogradTile;
      const bool inside = p < z_.p && q < z_.q;
      pixels[e] = inside ? dy + ((at.n * z_.p + p) * z_.q + q) * args_.dy.row_stride() : zeros_;
    }
    winograd_transforms<Isa>().output_gradient(pixels, z_.k, dy_.at(0, tile), dy_.product);
  }

  // Adds a chunk's sums to one panel of columns of one product, or begins it.
  void multiply(std::int64_t e, std::int64_t panel, std::int64_t count, bool begin) const {
    alignas(64) float sum[kMaxTileRows * kMaxColumns];
    const std::int64_t width = kernels_.columns;
    const Tiles tiles(z_.k, kernels_.rows);
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      const std::int64_t k = tiles.begin(t), rows = tiles.rows(t);
      kernels_.outer[rows](count, dy_.at(e, 0) + k, dy_.stride, x_.at(e, 0) + panel * width,
                           x_.stride, sum);
      float* m = m_ + (e * z_.k + k) * columns_ + panel * width;
      for (std::int64_t i = 0; i < rows; ++i, m += columns_)
        for (std::int64_t j = 0; j < width; ++j)
          m[j] = begin ? sum[i * width + j] : m[j] + sum[i * width + j];
    }
  }

  // dw of one output channel.
  void finish(std::int64_t k) const {
    auto* dw = static_cast<float*>(args_.dw.raw()) + k * 9 * z_.c;
    for (std::int64_t c = 0; c < z_.c; c += kWinogradFilters) {
      float products[kWinogradProducts][kWinogradFilters], taps[9][kWinogradFilters];
      for (std::int64_t e = 0; e < kWinogradProducts; ++e)
        std::copy_n(m_ + (e * z_.k + k) * columns_ + c, kWinogradFilters, products[e]);
      winograd_weight_gradients(products, taps);
      const std::int64_t count = std::min<std::int64_t>(kWinogradFilters, z_.c - c);
      for (std::int64_t tap = 0; tap < 9; ++tap) std::copy_n(taps[tap], count, dw + tap * z_.c + c);
    }
  }

  // In short chains of additions: kernels/gemm/outer.h says why.
  void sum_bias() const {
    constexpr std::int64_t kTogether = 16;
    const auto* dy = static_cast<const float*>(args_.dy.raw());
    auto* dbias = static_cast<float*>(args_.dbias.raw());
    const std::int64_t rows = args_.dy.rows(), stride = args_.dy.row_stride();
    launch("winograd_dbias", (z_.k + kTogether - 1) / kTogether, [&](std::int64_t task) {
      const std::int64_t first = task * kTogether, count = std::min(kTogether, z_.k - first);
      float total[kTogether] = {};
      for (std::int64_t begin = 0; begin < rows; begin += kBiasRows) {
        float sum[kTogether] = {};
        for (std::int64_t row = begin; row < std::min(begin + kBiasRows, rows); ++row)
          for (std::int64_t k = 0; k < count; ++k) sum[k] += dy[row * stride + first + k];
        for (std::int64_t k = 0; k < count; ++k) total[k] += sum[k];
      }
      std::copy_n(total, count, dbias + first);
    });
  }

  const Conv2dWgradArgs& args_;
  ConvSizes z_;
  const Microkernels& kernels_;
  std::int64_t down_, across_, all_tiles_, chunk_;
  std::int64_t columns_;  // of m: whole panels
  Transformed x_, dy_;
  float *zeros_ = nullptr, *m_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace

bool winograd_pays(const Conv2dWgradArgs& args) {
  // Sums over few tiles would be outweighed by adding them up.
  constexpr std::int64_t kTiles = 32, kChannels = 32;
  const Tensor& dy = args.dy;
  const std::int64_t tiles = dy.dim(0) * ((dy.dim(1) + 3) / 4) * ((dy.dim(2) + 3) / 4);
  return tiles >= kTiles && std::min(args.dw.dim(0), args.dw.dim(3)) >= kChannels;
}

template <class Isa>
bool conv2d_winograd_wgrad_supports(const Conv2dWgradArgs& args) {
  return Isa::available() && args.dtype() == DType::f32 && args.dw.dim(1) == 3 &&
         args.dw.dim(2) == 3 && args.geometry.stride == 1;
}

template <class Isa>
std::size_t conv2d_winograd_wgrad_workspace(const Conv2dWgradArgs& args) {
  return Plan<Isa>(args, nullptr).bytes();
}

template <class Isa>
void conv2d_winograd_wgrad_run(const Conv2dWgradArgs& args, void* workspace, Stream) {
  Plan<Isa>(args, workspace).run();
}

#define TILLER_INSTANTIATE(Isa)                                                      \
  template bool conv2d_winograd_wgrad_supports<Isa>(const Conv2dWgradArgs&);         \
  template std::size_t conv2d_winograd_wgrad_workspace<Isa>(const Conv2dWgradArgs&); \
  template void conv2d_winograd_wgrad_run<Isa>(const Conv2dWgradArgs&, void*, Stream);
TILLER_INSTANTIATE(Avx2)
TILLER_INSTANTIATE(Avx512)
#undef TILLER_INSTANTIATE

}  // namespace tiller
