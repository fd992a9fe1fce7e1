#include "kernels/conv2d/winograd.h"

#include <algorithm>

#include "kernels/conv2d/indirect.h"
#include "kernels/conv2d/prefetch.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/gemm/finish.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "kernels/gemm/pack.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr std::int64_t kBlockTiles = 70;  // of a task: five tiles of the micro-kernel's rows
constexpr std::int64_t kGroupFloats = std::int64_t{3} << 20;  // of transformed input at a time
constexpr std::int64_t kPixels = kWinogradTile * kWinogradTile;
// Weights that a thread keeps in its own cache while it takes blocks alone, and the least blocks each.
constexpr std::int64_t kFloatsAlone = std::int64_t{640} << 10, kBlocksAlone = 2;
// Channels whose weights a task of the fresh rows transforms at a time: 300 KiB.
constexpr std::int64_t kFreshChannels = 64;

struct Problem {
  std::vector<Tensor> sources;  // [N,H,W,.] concatenated
  std::int64_t height, width;   // of the sources as the taps see them: after up-sampling
  std::int64_t scale, pad;
  Tensor w;
  bool transposed;
  Tensor y0, y1;                 // outputs, split by columns
  bool down2x = false;           // they are sums over 2x2 pixels of the convolution
  Tensor bias, residual, stats;  // or none
  bool residual_up2x = false;

  // Of the convolution's result.
  std::int64_t rows() const { return y0.dim(1) << down2x; }
  std::int64_t cols() const { return y0.dim(2) << down2x; }
  std::int64_t channels() const { return transposed ? w.dim(0) : w.dim(3); }
  std::int64_t columns() const { return transposed ? w.dim(3) : w.dim(0); }
};

// The 1x1 convolution of the skip operand goes first, into y, with its bias and the residual; the
// 3x3 convolution is then added to y.
Problem problem_of(const Conv2dFwdArgs& args) {
  const std::int64_t scale = args.geometry.up2x ? 2 : 1;
  Problem p;
  p.sources = {args.x0};
  if (args.x1) p.sources.push_back(args.x1);
  p.height = args.x0.dim(1) * scale;
  p.width = args.x0.dim(2) * scale;
  p.scale = scale;
  p.pad = args.geometry.pad;
  p.w = args.w;
  p.transposed = false;
  p.y0 = args.y;
  p.bias = args.bias;
  p.residual = args.skip_w ? args.y : args.residual;
  p.residual_up2x = args.residual_up2x && !args.skip_w;
  p.stats = args.stats;
  return p;
}

// Of a stride of one: a convolution of dy with the taps reversed. An up-sampled input's gradient is
// summed over each pixel's four copies.
Problem problem_of(const Conv2dDgradArgs& args) {
  Problem p;
  p.sources = {args.dy};
  p.height = args.dy.dim(1);
  p.width = args.dy.dim(2);
  p.scale = 1;
  p.pad = 2 - args.geometry.pad;
  p.w = args.w;
  p.transposed = true;
  p.y0 = args.dx0;
  p.down2x = args.geometry.up2x;
  p.y1 = args.dx1;
  return p;
}

Conv2dFwdArgs skip_of(const Conv2dFwdArgs& args) {
  Conv2dFwdArgs skip;
  skip.x0 = args.skip0;
  skip.x1 = args.skip1;
  skip.w = args.skip_w;
  skip.bias = args.skip_bias;
  skip.residual = args.residual;
  skip.residual_up2x = args.residual_up2x;
  skip.y = args.y;
  return skip;
}

// Channels of a product: whole strips.
std::int64_t padded_channels(const Problem& p) {
  return (p.channels() + kStripElements - 1) / kStripElements * kStripElements;
}

// G g G^T of one panel's channels [begin, begin + length): products `stride` floats apart, each
// [length rounded up to whole strips][columns]. A strip's taps at a time, which stay in the L1 cache.
// Zeros for channels that only fill the last strip.
template <class Isa>
void transform_weights(const Problem& p, const RawWeight& w, std::int64_t panel, std::int64_t begin,
                       std::int64_t length, float* to, std::int64_t stride) {
  alignas(64) float taps[9 * kStripElements * kMaxPanelColumns];
  const std::int64_t width = Isa::kernels().columns;
  const UnpackKernel unpack = Isa::kernels().unpack.of(p.transposed, false);
  for (std::int64_t first = begin; first < begin + length; first += kStripElements) {
    const std::int64_t used = std::min<std::int64_t>(kStripElements, p.channels() - first);
    float* const at = to + (first - begin) * width;
    unpack(w, panel * width, first, first + used, taps);
    winograd_transforms<Isa>().weight(taps, used * width, p.transposed, used * width, at, stride);
    for (std::int64_t e = 0; e < kWinogradProducts; ++e)
      std::fill(at + e * stride + used * width, at + e * stride + kStripElements * width, 0.0f);
  }
}

// The transformed weight [panels][36][padded channels][columns], zeros beyond the channels and
// columns.
template <class Isa>
Tensor transformed(const Problem& p) {
  const std::int64_t columns = Isa::kernels().columns;
  const std::string key = fmt::format("winograd/{}{}", p.transposed ? "transposed " : "", columns);
  return derived(p.w, key.c_str(), [&] {
    const std::int64_t panels = (p.columns() + columns - 1) / columns;
    const std::int64_t strips = padded_channels(p) / kStripElements;
    const std::int64_t product_floats = padded_channels(p) * columns;
    Tensor out = Tensor::empty({panels * kWinogradProducts * product_floats});
    const RawWeight raw = raw_weight(p.w);
    launch("winograd_weight", panels * strips, [&](std::int64_t task) {
      const std::int64_t panel = task / strips, first = task % strips * kStripElements;
      transform_weights<Isa>(p, raw, panel, first, kStripElements,
                             out.data<float>() + panel * kWinogradProducts * product_floats +
                                 first * columns,
                             product_floats);
    });
    return out;
  });
}

// The tiles of the output in blocks: parts of an image, or several whole images where these are
// small.
struct Layout {
  std::int64_t down, across;              // tiles of an image
  std::int64_t images, together;          // all, and of one block
  Tiles parts;                            // an image's tiles, cut into blocks
  std::int64_t group;                     // blocks whose transformed input is held at a time
  std::int64_t channels, padded_columns;  // both padded

  Layout(const Problem& p, std::int64_t panel_columns)
      : down((p.rows() + kWinogradTile - 1) / kWinogradTile),
        across((p.cols() + kWinogradTile - 1) / kWinogradTile),
        images(p.y0.dim(0)),
        together(std::max<std::int64_t>(1, std::min(images, kBlockTiles / (down * across)))),
        parts(down * across, kBlockTiles),
        channels(padded_channels(p)),
        padded_columns((p.columns() + panel_columns - 1) / panel_columns * panel_columns) {
    const std::int64_t most = std::max<std::int64_t>(1, kGroupFloats / block_stride());
    const std::int64_t groups = (all_blocks() + most - 1) / most;
    group = (all_blocks() + groups - 1) / groups;
  }
  std::int64_t all_blocks() const { return (images + together - 1) / together * parts.count; }
  std::int64_t tiles(std::int64_t block) const {
    return together > 1 ? std::min(together, images - block * together) * parts.size
                        : parts.rows(block % parts.count);
  }
  // Floats between two products of one block: an odd number of cache lines, so that the 36 streams
  // that a transform writes do not meet in one set of the cache.
  std::int64_t product_stride() const { return longest() * channels + 16; }
  std::int64_t block_stride() const { return kWinogradProducts * product_stride(); }
  std::int64_t longest() const {
    return together > 1 ? together * parts.size : (parts.size + parts.count - 1) / parts.count;
  }

  struct Place {
    std::int64_t n, top, left;  // of a tile's first output pixel
  };
  Place place(std::int64_t block, std::int64_t tile) const {
    const std::int64_t image = block / parts.count * together + tile / parts.size;
    const std::int64_t at =
        together > 1 ? tile % parts.size : parts.begin(block % parts.count) + tile;
    return {image, at / across * kWinogradTile, at % across * kWinogradTile};
  }
};

template <class Isa>
class Plan {
 public:
  Plan(const Problem& problem, bool fresh, void* workspace)
      : p_(problem),
        fresh_(fresh),
        arena_(workspace),
        kernels_(Isa::kernels()),
        l_(problem, Isa::kernels().columns),
        sources_(problem.sources.begin(), problem.sources.end()),
        y0_(problem.y0),
        y1_(problem.y1),
        residual_(problem.residual) {
    std::int64_t longest = 1;
    for (const Pixels& source : sources_) longest = std::max(longest, source.channels);
    zeros_ = arena_.take<float>(longest);
    const std::int64_t weight_floats = kWinogradProducts * l_.channels * l_.padded_columns;
    alone_ = !fresh_ && weight_floats <= kFloatsAlone && l_.all_blocks() >= kBlocksAlone * threads();
    input_ = arena_.take<float>(alone_ ? threads() * rows_stride() : l_.group * l_.block_stride());
    bias_ = arena_.take<float>(l_.padded_columns);
    if (p_.stats) moments_ = arena_.take<float>(l_.images * l_.parts.count * 2 * l_.padded_columns);
    if (fresh_) transformed_ = arena_.take<float>(threads() * kWinogradProducts * fresh_stride());
    if (arena_.measuring()) return;
    std::fill(zeros_, zeros_ + longest, 0.0f);
    padded_bias(p_.bias, {}, DType::f32, l_.padded_columns, bias_);
  }

  std::size_t bytes() const { return arena_.used(); }

  void run() {
    if (fresh_)
      raw_ = raw_weight(p_.w);
    else
      w_ = transformed<Isa>(p_);
    if (alone_)
      launch_dynamic("winograd_block", l_.all_blocks(), [&](std::int64_t block) { whole(block); });
    else
      run_together();
    if (!p_.stats) return;
    Moments moments{moments_, l_.padded_columns, {}};
    for (std::int64_t part = 0; part < l_.parts.count; ++part)
      moments.counts.push_back(static_cast<float>(pixels(part, 0, l_.parts.rows(part))));
    merge_moments({&moments, 1}, p_.stats);
  }

 private:
  using Place = Layout::Place;
  Place place(std::int64_t block, std::int64_t tile) const { return l_.place(block, tile); }
  std::int64_t tiles(std::int64_t block) const { return l_.tiles(block); }

  std::int64_t panels() const { return l_.padded_columns / kernels_.columns; }

  // All threads transform a group of blocks, then multiply it: the products' inputs come from the
  // last cache, each panel of the weights once for many tiles.
  void run_together() const {
    for (std::int64_t first = 0; first < l_.all_blocks(); first += l_.group) {
      const std::int64_t blocks = std::min(l_.group, l_.all_blocks() - first);
      launch("winograd_input", blocks * l_.longest(), [&](std::int64_t task) {
        transform_of_block(first, task / l_.longest(), task % l_.longest());
      });
      launch_dynamic("winograd_product", panels() * blocks,
                     [&](std::int64_t task) { multiply(first, task % blocks, task / blocks); });
    }
  }

  // One block from pixels to pixels, a tile of the micro-kernel's rows at a time: few weights stay in
  // the thread's cache, and so does all that is made on the way. The pixels that come next are
  // fetched while it multiplies.
  void whole(std::int64_t block) const {
    constexpr std::int64_t kProductFloats = kMaxTileRows * kMaxPanelColumns + 16;
    alignas(64) float c[kWinogradProducts * kProductFloats];
    float outputs[kPixels * kMaxPanelColumns];
    const std::int64_t width = kernels_.columns, product = rows_stride() / kWinogradProducts;
    float* const input = input_ + thread_index() * rows_stride();
    const Tiles rows(tiles(block), kernels_.rows);
    for (std::int64_t t = 0; t < rows.count; ++t) {
      const std::int64_t first = rows.begin(t), count = rows.rows(t);
      for (std::int64_t i = 0; i < count; ++i)
        transform_tile(place(block, first + i),
                       {input + i * kStripElements, product, count * kStripElements});
      std::int64_t next = first + count;
      for (std::int64_t panel = 0; panel < panels(); ++panel) {
        const float* w =
            w_.data<float>() + panel * kWinogradProducts * l_.channels * width;
        for (std::int64_t e = 0; e < kWinogradProducts; ++e, w += l_.channels * width) {
          const std::int64_t steps = panels() * kWinogradProducts, step = panel * kWinogradProducts + e + 1;
          for (; next < std::min(rows.size, first + count + kernels_.rows * step / steps); ++next)
            fetch(place(block, next));
          kernels_.strip[count](l_.channels, input + e * product, w, c + e * kProductFloats, false);
        }
        for (std::int64_t i = 0; i < count; ++i) {
          winograd_transforms<Isa>().output(c + i * width, kProductFloats, width, outputs);
          store(place(block, first + i), panel, outputs);
        }
      }
    }
    if (!moments_) return;
    for (std::int64_t panel = 0; panel < panels(); ++panel) write_moments(block, panel);
  }

  // Floats of one such tile's transformed input; see product_stride().
  std::int64_t rows_stride() const {
    return kWinogradProducts * (kernels_.rows * l_.channels + 16);
  }

  // Fetches what a tile reads and its neighbours do not, and what it writes.
  void fetch(const Place& at) const {
    const int halving = p_.scale == 2 ? 1 : 0;
    for (const Pixels& x : sources_)
      x.fetch(at.n, at.top >> halving, at.left >> halving, kWinogradTile >> halving);
    for (const Pixels& y : {y0_, y1_})
      if (y.data)
        y.fetch<true>(at.n, at.top >> p_.down2x, at.left >> p_.down2x, kWinogradTile >> p_.down2x);
  }

  // B^T d B of one tile of a block into the block's place.
  void transform_of_block(std::int64_t first, std::int64_t block, std::int64_t tile) const {
    if (tile >= tiles(first + block)) return;
    const Tiles rows(tiles(first + block), kernels_.rows);
    const std::int64_t row_tile = tile_of(rows, tile), size = rows.rows(row_tile) * kStripElements;
    transform_tile(place(first + block, tile),
                   {input_ + block * l_.block_stride() + rows.begin(row_tile) * l_.channels +
                        (tile - rows.begin(row_tile)) * kStripElements,
                    l_.product_stride(), size});
  }

  // B^T d B of one tile. Beside the image the pixels are zeros.
  void transform_tile(const Place& at, const WinogradStrips& strips) const {
    std::int64_t channel = 0;
    for (const Pixels& x : sources_) {
      const int halving = p_.scale == 2 ? 1 : 0;  // of an up-sampled source's coordinates
      const float* patch[kWinogradProducts];
      for (std::int64_t e = 0; e < kWinogradProducts; ++e) {
        const std::int64_t h = at.top - p_.pad + e / kWinogradPatch;
        const std::int64_t w = at.left - p_.pad + e % kWinogradPatch;
        const bool inside = h >= 0 && h < p_.height && w >= 0 && w < p_.width;
        const std::int64_t row = (at.n * x.height + (h >> halving)) * x.width + (w >> halving);
        patch[e] = inside ? x.row(row) : zeros_;
      }
      winograd_transforms<Isa>().input(patch, x.channels, channel, strips);
      channel += x.channels;
    }
    for (; channel < l_.channels; ++channel)  // of the last strip
      for (std::int64_t e = 0; e < kWinogradProducts; ++e)
        strips.to[e * strips.product + channel / kStripElements * strips.strip +
                  channel % kStripElements] = 0;
  }

  // The tile of the micro-kernel's rows that holds row i.
  static std::int64_t tile_of(const Tiles& rows, std::int64_t i) {
    std::int64_t tile = i / (rows.size / rows.count + 1);
    while (rows.begin(tile + 1) <= i) ++tile;
    return tile;
  }

  // The 36 products of one block with one panel of the weights, and the way back to pixels.
  void multiply(std::int64_t first, std::int64_t block, std::int64_t panel) const {
    constexpr std::int64_t kProductFloats =
        kBlockTiles * kMaxPanelColumns + 16;  // see product_stride()
    alignas(64) float c[kWinogradProducts * kProductFloats];
    const std::int64_t width = kernels_.columns, count = tiles(first + block);
    const Tiles rows(count, kernels_.rows);
    // Channels [begin, begin + length) of each product, whose weights lie `step` floats apart.
    const auto products = [&](std::int64_t begin, std::int64_t length, const float* w,
                              std::int64_t step) {
      const float* input = input_ + block * l_.block_stride();
      for (std::int64_t e = 0; e < kWinogradProducts; ++e, input += l_.product_stride(), w += step)
        for (std::int64_t t = 0; t < rows.count; ++t)
          kernels_.strip[rows.rows(t)](
              length, input + rows.begin(t) * l_.channels + begin * rows.rows(t), w,
              c + e * kProductFloats + rows.begin(t) * width, begin > 0);
    };
    if (fresh_) {
      float* const w = transformed_ + thread_index() * kWinogradProducts * fresh_stride();
      for (std::int64_t begin = 0; begin < l_.channels; begin += kFreshChannels) {
        const std::int64_t length = std::min(kFreshChannels, l_.channels - begin);
        transform_weights<Isa>(p_, raw_, panel, begin, length, w, fresh_stride());
        products(begin, length, w, fresh_stride());
      }
    } else {
      const std::int64_t step = l_.channels * width;
      products(0, l_.channels, w_.data<float>() + panel * kWinogradProducts * step, step);
    }
    float outputs[kPixels * kMaxPanelColumns];
    for (std::int64_t t = 0; t < count; ++t) {
      winograd_transforms<Isa>().output(c + t * width, kProductFloats, width, outputs);
      store(place(first + block, t), panel, outputs);
    }
    if (moments_) write_moments(first + block, panel);
  }

  // Floats between two products of a thread's transformed weights; see product_stride().
  std::int64_t fresh_stride() const { return kFreshChannels * kernels_.columns + 16; }

  void store(const Place& at, std::int64_t panel, float* outputs) const {
    if (p_.down2x) sum_2x2(outputs);
    const std::int64_t size = kWinogradTile >> p_.down2x;
    for (std::int64_t i = 0; i < size; ++i)
      for (std::int64_t j = 0; j < size; ++j) {
        const std::int64_t h = (at.top >> p_.down2x) + i, w = (at.left >> p_.down2x) + j;
        if (h < y0_.height && w < y0_.width)
          store_pixel(at.n, h, w, panel, outputs + (i * size + j) * kernels_.columns);
      }
  }

  // A tile's 4x4 pixels to 2x2, in place.
  void sum_2x2(float* outputs) const {
    const std::int64_t width = kernels_.columns;
    for (std::int64_t i = 0; i < 2; ++i)
      for (std::int64_t j = 0; j < 2; ++j) {
        const float* const from = outputs + (8 * i + 2 * j) * width;
        float* const to = outputs + (2 * i + j) * width;
        for (std::int64_t k = 0; k < width; ++k)
          to[k] = (from[k] + from[width + k]) + (from[4 * width + k] + from[5 * width + k]);
      }
  }

  void store_pixel(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t panel,
                   float* values) const {
    const std::int64_t width = kernels_.columns, column = panel * width;
    const std::int64_t used = std::min(width, p_.columns() - column);
    const std::int64_t row = (n * y0_.height + h) * y0_.width + w;
    const float* residual = nullptr;
    if (residual_.data) {
      const std::int64_t half = (n * residual_.height + h / 2) * residual_.width + w / 2;
      residual = residual_.row(p_.residual_up2x ? half : row) + column;
    }
    if (used == width && column + width <= y0_.channels)
      return finish_row(width, values, bias_ + column, residual, y0_.row(row) + column);
    for (std::int64_t k = 0; k < used; ++k)
      values[k] = values[k] + bias_[column + k] + (residual ? residual[k] : 0);
    const std::int64_t split = std::clamp<std::int64_t>(y0_.channels - column, 0, used);
    if (split > 0) std::copy_n(values, split, y0_.row(row) + column);
    if (split < used)
      std::copy_n(values + split, used - split, y1_.row(row) + column + split - y0_.channels);
  }

  // Of a block's tiles [first, last).
  std::int64_t pixels(std::int64_t block, std::int64_t first, std::int64_t last) const {
    std::int64_t total = 0;
    for (std::int64_t t = first; t < last; ++t) {
      const Place at = place(block, t);
      total += std::min<std::int64_t>(kWinogradTile, y0_.height - at.top) *
               std::min<std::int64_t>(kWinogradTile, y0_.width - at.left);
    }
    return total;
  }

  // Image by image, of what was just stored and is still in the cache.
  void write_moments(std::int64_t block, std::int64_t panel) const {
    const std::int64_t step = l_.together > 1 ? l_.parts.size : tiles(block);
    for (std::int64_t first = 0; first < tiles(block); first += step)
      write_moments(block, panel, first, first + step, block * l_.together + first / step);
  }

  void write_moments(std::int64_t block, std::int64_t panel, std::int64_t first, std::int64_t last,
                     std::int64_t index) const {
    const std::int64_t column = panel * kernels_.columns;
    const std::int64_t used = std::min<std::int64_t>(kernels_.columns, p_.columns() - column);
    float* mean = moments_ + index * 2 * l_.padded_columns + column;
    float* m2 = mean + l_.padded_columns;
    std::fill_n(mean, kernels_.columns, 0.0f);
    std::fill_n(m2, kernels_.columns, 0.0f);
    const auto count = static_cast<float>(pixels(block, first, last));
    for (std::int64_t k = 0; k < used; k += kTogether) {
      const std::int64_t channels = std::min(kTogether, used - k);
      if (channels == kTogether)
        moments_of_channels<kTogether>(block, first, last, column + k, count, mean + k, m2 + k);
      else
        for (std::int64_t i = k; i < used; ++i)
          moments_of_channels<1>(block, first, last, column + i, count, mean + i, m2 + i);
    }
  }

  static constexpr std::int64_t kTogether = 16;
  // Of kChannels from `column` on, which stay in registers.
  template <std::int64_t kChannels>
  void moments_of_channels(std::int64_t block, std::int64_t first, std::int64_t last,
                           std::int64_t column, float count, float* mean, float* m2) const {
    const auto for_each_row = [&](const auto& f) {
      for (std::int64_t t = first; t < last; ++t) {
        const Place at = place(block, t);
        const std::int64_t right = std::min(at.left + kWinogradTile, y0_.width);
        for (std::int64_t h = at.top; h < std::min(at.top + kWinogradTile, y0_.height); ++h)
          for (std::int64_t w = at.left; w < right; ++w)
            f(y0_.row((at.n * y0_.height + h) * y0_.width + w) + column);
      }
    };
    float sum[kChannels] = {}, squares[kChannels] = {};
    for_each_row([&](const float* y) {
      for (std::int64_t k = 0; k < kChannels; ++k) sum[k] += y[k];
    });
    for (std::int64_t k = 0; k < kChannels; ++k) sum[k] /= count;
    for_each_row([&](const float* y) {
      for (std::int64_t k = 0; k < kChannels; ++k)
        squares[k] += (y[k] - sum[k]) * (y[k] - sum[k]);
    });
    std::copy_n(sum, kChannels, mean);
    std::copy_n(squares, kChannels, m2);
  }

  const Problem& p_;
  const bool fresh_;
  bool alone_ = false;  // each thread takes whole blocks
  Arena arena_;
  const Microkernels& kernels_;
  Layout l_;
  float *zeros_ = nullptr, *input_ = nullptr, *bias_ = nullptr, *moments_ = nullptr;
  std::vector<Pixels> sources_;
  Pixels y0_, y1_, residual_;
  Tensor w_;                      // transformed, or:
  RawWeight raw_;                 // as it lies,
  float* transformed_ = nullptr;  // [threads][36][fresh_stride()]
};

bool three_by_three(const Tensor& w, const ConvGeometry& geometry) {
  return w.dtype() == DType::f32 && w.dim(1) == 3 && w.dim(2) == 3 && geometry.stride == 1;
}

bool supported(const Conv2dFwdArgs& args) { return three_by_three(args.w, args.geometry); }
bool supported(const Conv2dDgradArgs& args) {
  const bool whole = !args.geometry.up2x || args.geometry.pad == 1;  // copies in whole tiles
  return three_by_three(args.w, args.geometry) && whole && args.geometry.pad <= 2;
}

// Kept weights are four times as many bytes: they must be few, or meet many pixels. Those that are
// transformed afresh are as many as the direct rows read.
bool pays(std::int64_t height, std::int64_t width, const Tensor& w) {
  constexpr std::int64_t kKeptMap = 32, kFreshMap = 16, kChannels = 64;
  constexpr std::int64_t kSmallMap = 4, kFewChannels = 32, kFewWeights = 256 * 256;
  const std::int64_t size = std::min(height, width);
  const std::int64_t channels = std::min(w.dim(0), w.dim(3));
  const std::int64_t large = w.storage()->frozen() ? kFreshMap : kKeptMap;
  return (size >= large && channels >= kChannels) ||
         (size >= kSmallMap && channels >= kFewChannels && w.dim(0) * w.dim(3) <= kFewWeights);
}

}  // namespace

bool winograd_pays(const Conv2dFwdArgs& args) {
  return pays(args.y.dim(1), args.y.dim(2), args.w);
}
bool winograd_pays(const Conv2dDgradArgs& args) {
  const int copies = args.geometry.up2x ? 2 : 1;
  return pays(args.dx0.dim(1) * copies, args.dx0.dim(2) * copies, args.w);
}

template <class Isa, class Args>
bool conv2d_winograd_supports(const Args& args) {
  return Isa::available() && args.dtype() == DType::f32 && supported(args);
}

template <class Isa, bool kFresh, class Args>
std::size_t conv2d_winograd_workspace(const Args& args) {
  const Problem problem = problem_of(args);
  std::size_t bytes = Plan<Isa>(problem, kFresh, nullptr).bytes();
  if constexpr (std::is_same_v<Args, Conv2dFwdArgs>)
    if (args.skip_w)
      bytes = std::max(bytes, conv2d_indirect_workspace<Isa, Conv2dFwdArgs>(skip_of(args)));
  return bytes;
}

template <class Isa, bool kFresh, class Args>
void conv2d_winograd_run(const Args& args, void* workspace, Stream stream) {
  const Problem problem = problem_of(args);
  if constexpr (std::is_same_v<Args, Conv2dFwdArgs>)
    if (args.skip_w) conv2d_indirect_run<Isa, Conv2dFwdArgs>(skip_of(args), workspace, stream);
  Plan<Isa>(problem, kFresh, workspace).run();
}

#define TILLER_INSTANTIATE(Isa, Args)                                        \
  template bool conv2d_winograd_supports<Isa>(const Args&);                  \
  template std::size_t conv2d_winograd_workspace<Isa, false>(const Args&);   \
  template std::size_t conv2d_winograd_workspace<Isa, true>(const Args&);    \
  template void conv2d_winograd_run<Isa, false>(const Args&, void*, Stream); \
  template void conv2d_winograd_run<Isa, true>(const Args&, void*, Stream);
TILLER_INSTANTIATE(Avx2, Conv2dFwdArgs)
TILLER_INSTANTIATE(Avx2, Conv2dDgradArgs)
TILLER_INSTANTIATE(Avx512, Conv2dFwdArgs)
TILLER_INSTANTIATE(Avx512, Conv2dDgradArgs)
#undef TILLER_INSTANTIATE

}  // namespace tiller
