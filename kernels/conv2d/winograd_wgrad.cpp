// The weight gradient of the Winograd rows: for each of the 36 products a matrix product over the
// tiles of all images,
//
//   m[e][k][c] = sum over tiles t: (A dY_t A^T)[e][k] * (B^T d_t B)[e][c]
//
// and dw = G^T m G at the end (winograd_transforms.h). The bias' gradient is the sum of dY_t, which
// the transform has in its registers. Of an up-sampled image each of the four phases
// (winograd_problem.h) has its m, of 25 products, and a tap of 3x3 receives what the taps of 2x2 that
// it was added to have.
//
// A chunk of tiles is transformed, then multiplied. Where m is small, each slice of the tiles has one
// of its own, and a thread takes a slice alone, in chunks that stay in its own cache; the slices'
// sums are added in order. Where m is large all threads share one, and meet between the steps.
// Chunks and slices follow from the shape alone, so the sums are the same on any number of threads.
#include <algorithm>
#include <vector>

#include "kernels/conv2d/sizes.h"
#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_problem.h"
#include "kernels/gemm/arena.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

// Tiles that are transformed and multiplied at a time by all threads: many enough to pay for adding
// their sums to m, few enough to stay in the last cache.
constexpr std::int64_t kFewestTiles = 128, kMostTiles = 512;
constexpr std::int64_t kChunkFloats = std::int64_t{3} << 20;
// By one thread: its chunk and its m stay in the L2 cache.
constexpr std::int64_t kFewestAlone = 32, kMostAlone = 128;
constexpr std::int64_t kFloatsAlone = std::int64_t{108} << 10;
constexpr std::int64_t kLargestAlone = 80 << 10;  // floats of an m of its own
constexpr std::int64_t kMostSlices = 16, kTilesOfSlice = 128;
constexpr std::int64_t kPixels = kWinogradTile * kWinogradTile;
constexpr std::int64_t kMaxColumns = 32;

// Transformed tiles [products][tiles][channels], with room behind each product and, where there are many,
// behind each row: an odd number of cache lines apart, they do not meet in one set of the cache.
struct Transformed {
  float* values = nullptr;
  std::int64_t products, stride, product;
  Transformed(std::int64_t products_of_tile, std::int64_t channels, std::int64_t tiles)
      : products(products_of_tile),
        stride(tiles > kMostAlone ? (channels + 31) / 32 * 32 + 16 : (channels + 15) / 16 * 16),
        product(tiles * stride + 16) {}
  std::int64_t floats() const { return products * product; }
  float* at(std::int64_t e, std::int64_t tile) const {
    return values + e * product + tile * stride;
  }
};

// A chunk of tiles: both operands, and the sums of dY's pixels [tiles][K].
struct Chunk {
  Transformed x, dy;
  float* sums;
};

template <class Isa>
class Plan {
 public:
  Plan(const Conv2dWgradArgs& args, int taps, void* workspace)
      : args_(args),
        z_(args),
        kernels_(Isa::kernels()),
        transforms_(winograd_transforms<Isa>(taps)),
        products_(transforms_.products()),
        halving_(args.geometry.up2x && taps == 3),
        down_(((taps == 2 ? z_.h : z_.p) + kWinogradTile - 1) / kWinogradTile),
        across_(((taps == 2 ? z_.w : z_.q) + kWinogradTile - 1) / kWinogradTile),
        all_tiles_(z_.n * down_ * across_),
        columns_((z_.c + kernels_.columns - 1) / kernels_.columns * kernels_.columns),
        phases_(phases_of(args, taps)),
        alone_(floats_of_m() <= kLargestAlone),
        slices_(alone_ ? std::clamp<std::int64_t>(all_tiles_ / kTilesOfSlice, 1, kMostSlices) : 1) {
    x_.emplace_back(args.x0);
    if (args.x1) x_.emplace_back(args.x1);
    const std::int64_t floats = products_ * (columns_ + z_.k);
    chunk_ = alone_ ? std::clamp(kFloatsAlone / floats, kFewestAlone, kMostAlone)
                    : std::clamp(kChunkFloats / floats, kFewestTiles, kMostTiles);
    chunk_ = std::min(chunk_, all_tiles_);
    Arena arena(workspace);
    zeros_ = arena.take<float>(std::max(z_.c, z_.k));
    for (int thread = 0; thread < (alone_ ? threads() : 1); ++thread) {
      chunks_.push_back({Transformed(products_, columns_, chunk_),
                         Transformed(products_, z_.k, chunk_), nullptr});
      Chunk& chunk = chunks_.back();
      chunk.x.values = arena.take<float>(chunk.x.floats());
      chunk.dy.values = arena.take<float>(chunk.dy.floats());
      chunk.sums = arena.take<float>(chunk_ * z_.k);
    }
    m_ = arena.take<float>(slices_ * floats_of_m());
    biases_ = arena.take<double>(slices_ * z_.k);
    bytes_ = arena.used();
  }

  std::size_t bytes() const { return bytes_; }

  void run() {
    std::fill(zeros_, zeros_ + std::max(z_.c, z_.k), 0.0f);
    if (alone_)
      launch_dynamic("winograd_slices", slices_, [&](std::int64_t slice) {
        const std::int64_t begin = all_tiles_ * slice / slices_,
                           end = all_tiles_ * (slice + 1) / slices_;
        sum_slice(chunks_[static_cast<std::size_t>(thread_index())], begin, end,
                  m_ + slice * floats_of_m(), biases_ + slice * z_.k);
      });
    else
      sum_together();
    if (slices_ > 1) add_slices();
    launch("winograd_dw", z_.k, [&](std::int64_t k) { finish(k); });
  }

 private:
  // A phase of dy, and where its patch of x begins, from the tile's first pixel.
  struct Phase {
    Pixels dy;
    std::int64_t top, left;
  };
  static std::vector<Phase> phases_of(const Conv2dWgradArgs& args, int taps) {
    const Pixels dy(args.dy);
    if (taps == 3) return {{dy, -args.geometry.pad, -args.geometry.pad}};
    return {{dy.phase(0, 0), -1, -1},
            {dy.phase(0, 1), -1, 0},
            {dy.phase(1, 0), 0, -1},
            {dy.phase(1, 1), 0, 0}};
  }

  // m [phases][products][K][columns].
  std::int64_t floats_of_phase() const { return products_ * z_.k * columns_; }
  std::int64_t floats_of_m() const {
    return static_cast<std::int64_t>(phases_.size()) * floats_of_phase();
  }
  std::int64_t panels() const { return columns_ / kernels_.columns; }

  // One thread's tiles [begin, end), chunk by chunk. What comes next is fetched meanwhile.
  void sum_slice(const Chunk& chunk, std::int64_t begin, std::int64_t end, float* m,
                 double* bias) const {
    for (std::int64_t first = begin; first < end; first += chunk_)
      for (std::size_t phase = 0; phase < phases_.size(); ++phase) {
        const std::int64_t count = std::min(chunk_, end - first);
        for (std::int64_t tile = 0; tile < count; ++tile)
          transform(phase, place(first + tile), chunk, tile);
        const bool last = phase + 1 == phases_.size();
        const std::int64_t start = last ? first + count : first;
        std::int64_t next = start;
        for (std::int64_t e = 0; e < products_; ++e) {
          const std::int64_t ahead = start + chunk_ * (e + 1) / products_;
          for (; next < std::min(end, ahead); ++next) fetch(last ? 0 : phase + 1, place(next));
          for (std::int64_t panel = 0; panel < panels(); ++panel)
            multiply(phase, chunk, e, panel, count, first == begin, m);
        }
        add_bias(chunk, count, first == begin && phase == 0, bias);
      }
  }

  // All threads, which meet between the steps.
  void sum_together() const {
    const Chunk& chunk = chunks_[0];
    const std::int64_t tasks = products_ * panels();
    for (std::int64_t first = 0; first < all_tiles_; first += chunk_)
      for (std::size_t phase = 0; phase < phases_.size(); ++phase) {
        const std::int64_t count = std::min(chunk_, all_tiles_ - first);
        launch("winograd_input", count,
               [&](std::int64_t tile) { transform(phase, place(first + tile), chunk, tile); });
        launch_dynamic("winograd_outer", tasks + 1, [&](std::int64_t task) {
          if (task == tasks) return add_bias(chunk, count, first == 0 && phase == 0, biases_);
          multiply(phase, chunk, task / panels(), task % panels(), count, first == 0, m_);
        });
      }
  }

  struct Place {
    std::int64_t n, top, left;  // of a tile's first pixel of dy
  };
  Place place(std::int64_t tile) const {
    const std::int64_t at = tile % (down_ * across_);
    return {tile / (down_ * across_), at / across_ * kWinogradTile, at % across_ * kWinogradTile};
  }

  // Fetches what a tile reads and its neighbours do not.
  void fetch(std::size_t phase, const Place& at) const {
    if (phase == 0)  // the others read the same x
      for (const Pixels& x : x_)
        x.fetch(at.n, at.top >> halving_, at.left >> halving_, kWinogradTile >> halving_);
    phases_[phase].dy.fetch(at.n, at.top, at.left, kWinogradTile);
  }

  // Both operands of one tile. Beside the images the pixels are zeros.
  void transform(std::size_t phase, const Place& at, const Chunk& chunk, std::int64_t tile) const {
    const auto& [dy, top, left] = phases_[phase];
    const int patch = transforms_.patch();
    const float* pixels[kWinogradProducts];
    std::int64_t channel = 0;
    for (const Pixels& x : x_) {
      const std::int64_t height = x.height << halving_, width = x.width << halving_;
      const float** to = pixels;
      for (std::int64_t h = at.top + top; h < at.top + top + patch; ++h)
        for (std::int64_t w = at.left + left; w < at.left + left + patch; ++w) {
          const bool inside = h >= 0 && h < height && w >= 0 && w < width;
          *to++ = inside ? x.at(at.n, h >> halving_, w >> halving_) : zeros_;
        }
      transforms_.input(pixels, x.channels, channel,
                        {chunk.x.at(0, tile), chunk.x.product, kStripElements});
      channel += x.channels;
    }
    for (std::int64_t e = 0; e < products_; ++e)  // of the last panel
      std::fill(chunk.x.at(e, tile) + channel, chunk.x.at(e, tile) + columns_, 0.0f);
    for (std::int64_t e = 0; e < kPixels; ++e) {
      const std::int64_t p = at.top + e / kWinogradTile, q = at.left + e % kWinogradTile;
      const bool inside = p < dy.height && q < dy.width;
      pixels[e] = inside ? dy.at(at.n, p, q) : zeros_;
    }
    transforms_.output_gradient(pixels, z_.k, chunk.dy.at(0, tile), chunk.dy.product,
                                chunk.sums + tile * z_.k);
  }

  // Adds a chunk's sums to one panel of columns of one product, or begins it.
  void multiply(std::size_t phase, const Chunk& chunk, std::int64_t e, std::int64_t panel,
                std::int64_t count, bool begin, float* all) const {
    float* const sums = all + static_cast<std::int64_t>(phase) * floats_of_phase();
    alignas(64) float sum[kMaxTileRows * kMaxColumns];
    const std::int64_t width = kernels_.columns;
    const Tiles tiles(z_.k, kernels_.rows);
    for (std::int64_t t = 0; t < tiles.count; ++t) {
      const std::int64_t k = tiles.begin(t), rows = tiles.rows(t);
      kernels_.outer[rows](count, chunk.dy.at(e, 0) + k, chunk.dy.stride,
                           chunk.x.at(e, 0) + panel * width, chunk.x.stride, sum);
      float* m = sums + (e * z_.k + k) * columns_ + panel * width;
      for (std::int64_t i = 0; i < rows; ++i, m += columns_)
        for (std::int64_t j = 0; j < width; ++j)
          m[j] = begin ? sum[i * width + j] : m[j] + sum[i * width + j];
    }
  }

  // The same for the bias, in f64: before a group norm of single channels what is summed cancels.
  void add_bias(const Chunk& chunk, std::int64_t count, bool begin, double* bias) const {
    if (begin) std::fill_n(bias, z_.k, 0.0);
    for (std::int64_t tile = 0; tile < count; ++tile)
      for (std::int64_t k = 0; k < z_.k; ++k)
        bias[k] += static_cast<double>(chunk.sums[tile * z_.k + k]);
  }

  // Adds the other slices' m to the first's.
  void add_slices() const {
    constexpr std::int64_t kTogether = 4096;
    launch("winograd_sum", (floats_of_m() + kTogether - 1) / kTogether, [&](std::int64_t task) {
      float* const to = m_ + task * kTogether;
      const std::int64_t count = std::min(kTogether, floats_of_m() - task * kTogether);
      for (std::int64_t slice = 1; slice < slices_; ++slice) {
        const float* const from = to + slice * floats_of_m();
        for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
      }
    });
  }

  // dw and dbias of one output channel.
  void finish(std::int64_t k) const {
    auto* dw = static_cast<float*>(args_.dw.raw()) + k * 9 * z_.c;
    for (std::int64_t c = 0; c < z_.c; c += kWinogradFilters) {
      const std::int64_t count = std::min<std::int64_t>(kWinogradFilters, z_.c - c);
      for (std::size_t phase = 0; phase < phases_.size(); ++phase) {
        float products[kWinogradProducts][kWinogradFilters], taps[9][kWinogradFilters];
        const float* m = m_ + static_cast<std::int64_t>(phase) * floats_of_phase();
        for (std::int64_t e = 0; e < products_; ++e)
          std::copy_n(m + (e * z_.k + k) * columns_ + c, kWinogradFilters, products[e]);
        winograd_weight_gradients(transforms_.taps, products, taps);
        for (std::int64_t tap = 0; tap < 9; ++tap) {
          const float* from =
              taps[phases_.size() > 1 ? phase_tap(static_cast<std::int64_t>(phase), tap) : tap];
          for (std::int64_t i = 0; i < count; ++i) {
            float& to = dw[tap * z_.c + c + i];
            to = phase == 0 ? from[i] : to + from[i];
          }
        }
      }
    }
    if (!args_.dbias) return;
    double bias = 0;
    for (std::int64_t slice = 0; slice < slices_; ++slice) bias += biases_[slice * z_.k + k];
    static_cast<float*>(args_.dbias.raw())[k] = static_cast<float>(bias);
  }

  const Conv2dWgradArgs& args_;
  ConvSizes z_;
  const Microkernels& kernels_;
  const WinogradTransforms& transforms_;
  const std::int64_t products_;
  const int halving_;  // 1: x is read through an up-sampling
  std::int64_t down_, across_, all_tiles_;
  std::int64_t columns_;  // of m: whole panels
  std::vector<Phase> phases_;
  bool alone_;  // a thread with its slice
  std::int64_t slices_, chunk_ = 0;
  std::vector<Chunk> chunks_;  // one for each thread, or one for all
  std::vector<Pixels> x_;
  float *zeros_ = nullptr, *m_ = nullptr;
  double* biases_ = nullptr;  // [slices][K]
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

// Four times 25 products of each filter, where there are 36 otherwise: not of so many that they are
// hundreds of megabytes.
bool winograd_phases_pay(const Conv2dWgradArgs& args) {
  constexpr std::int64_t kMap = 4, kWeights = 512 * 512;
  return conv2d_winograd_wgrad_supports<Avx2, 2>(args) && winograd_pays(args) &&
         std::min(args.x0.dim(1), args.x0.dim(2)) >= kMap &&
         args.dw.dim(0) * args.dw.dim(3) <= kWeights;
}

template <class Isa, int kTaps>
bool conv2d_winograd_wgrad_supports(const Conv2dWgradArgs& args) {
  return Isa::available() && args.dtype() == DType::f32 && args.dw.dim(1) == 3 &&
         args.dw.dim(2) == 3 && args.geometry.stride == 1 &&
         (kTaps == 3 || (args.geometry.up2x && args.geometry.pad == 1));
}

template <class Isa, int kTaps>
std::size_t conv2d_winograd_wgrad_workspace(const Conv2dWgradArgs& args) {
  return Plan<Isa>(args, kTaps, nullptr).bytes();
}

template <class Isa, int kTaps>
void conv2d_winograd_wgrad_run(const Conv2dWgradArgs& args, void* workspace, Stream) {
  Plan<Isa>(args, kTaps, workspace).run();
}

#define TILLER_INSTANTIATE(Isa, kTaps)                                                      \
  template bool conv2d_winograd_wgrad_supports<Isa, kTaps>(const Conv2dWgradArgs&);         \
  template std::size_t conv2d_winograd_wgrad_workspace<Isa, kTaps>(const Conv2dWgradArgs&); \
  template void conv2d_winograd_wgrad_run<Isa, kTaps>(const Conv2dWgradArgs&, void*, Stream);
TILLER_INSTANTIATE(Avx2, 3)
TILLER_INSTANTIATE(Avx2, 2)
TILLER_INSTANTIATE(Avx512, 3)
TILLER_INSTANTIATE(Avx512, 2)
#undef TILLER_INSTANTIATE

}  // namespace tiller
