#include "kernels/conv2d/winograd.h"

#include <algorithm>

#include "kernels/conv2d/indirect.h"
#include "kernels/conv2d/winograd_filters.h"
#include "kernels/conv2d/winograd_problem.h"
#include "kernels/gemm/finish.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/isa.h"
#include "kernels/gemm/pack.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

using Problem = WinogradProblem;
using Layout = WinogradLayout;

constexpr std::int64_t kPixels = kWinogradTile * kWinogradTile;
// Weights that a thread keeps in its own cache while it takes blocks alone, and the least blocks each.
constexpr std::int64_t kFloatsAlone = std::int64_t{640} << 10, kBlocksAlone = 2;
// Channels whose weights a task of the fresh rows transforms at a time: 300 KiB.
constexpr std::int64_t kFreshChannels = 64;

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

template <class Isa>
class Plan {
 public:
  Plan(const Problem& problem, bool fresh, void* workspace)
      : p_(problem),
        fresh_(fresh),
        arena_(workspace),
        kernels_(Isa::kernels()),
        transforms_(winograd_transforms<Isa>(problem.taps)),
        products_(transforms_.products()),
        l_(problem, products_, Isa::kernels().columns) {
    std::int64_t longest = 1;
    for (const WinogradSource& source : p_.sources) longest = std::max(longest, source.x.channels);
    zeros_ = arena_.take<float>(longest);
    const std::int64_t weight_floats = transformed_floats<Isa>(p_);
    alone_ = weight_floats <= kFloatsAlone && l_.all_blocks() >= kBlocksAlone * threads();
    input_ = arena_.take<float>(alone_ ? threads() * rows_stride() : l_.group * l_.block_stride());
    bias_ = arena_.take<float>(l_.padded_columns);
    for (std::size_t i = 0; p_.stats && i < p_.phases.size(); ++i)
      moments_.push_back(arena_.take<float>(l_.images * l_.parts.count * 2 * l_.padded_columns));
    if (fresh_ && !alone_)
      transformed_ = arena_.take<float>(threads() * products_ * fresh_stride());
    for (std::size_t i = 0; fresh_ && alone_ && i < p_.phases.size(); ++i)
      w_.push_back(arena_.take<float>(weight_floats));
    if (arena_.measuring()) return;
    std::fill(zeros_, zeros_ + longest, 0.0f);
    padded_bias(p_.bias, {}, DType::f32, l_.padded_columns, bias_);
  }

  std::size_t bytes() const { return arena_.used(); }

  void run() {
    if (!fresh_)
      for (std::size_t phase = 0; phase < p_.phases.size(); ++phase) {
        kept_.push_back(transformed<Isa>(p_, phase));
        w_.push_back(kept_.back().data<float>());
      }
    else if (alone_)  // few: all are made before, not by every task
      for (std::size_t i = 0; i < p_.phases.size(); ++i) transform_all<Isa>(p_, i, w_[i]);
    else
      raw_ = raw_weight(p_.w);
    if (alone_)
      launch_dynamic("winograd_block", l_.all_blocks(), [&](std::int64_t block) { whole(block); });
    else
      for (std::size_t phase = 0; phase < p_.phases.size(); ++phase) run_together(phase);
    if (!p_.stats) return;
    std::vector<Moments> moments;
    for (const float* of_phase : moments_) {
      moments.push_back({of_phase, l_.padded_columns, {}});
      for (std::int64_t part = 0; part < l_.parts.count; ++part)
        moments.back().counts.push_back(static_cast<float>(pixels(part, 0, l_.parts.rows(part))));
    }
    merge_moments(moments, p_.stats);
  }

 private:
  using Place = Layout::Place;
  Place place(std::int64_t block, std::int64_t tile) const { return l_.place(block, tile); }
  std::int64_t tiles(std::int64_t block) const { return l_.tiles(block); }
  std::int64_t panels() const { return l_.padded_columns / kernels_.columns; }

  // All threads transform a group of blocks, then multiply it: the products' inputs come from the
  // last cache, each panel of the weights once for many tiles.
  void run_together(std::size_t phase) const {
    for (std::int64_t first = 0; first < l_.all_blocks(); first += l_.group) {
      const std::int64_t blocks = std::min(l_.group, l_.all_blocks() - first);
      launch("winograd_input", blocks * l_.longest(), [&](std::int64_t task) {
        transform_of_block(phase, first, task / l_.longest(), task % l_.longest());
      });
      launch_dynamic("winograd_product", panels() * blocks, [&](std::int64_t task) {
        multiply(phase, first, task % blocks, task / blocks);
      });
    }
  }

  // One block from pixels to pixels, a tile of the micro-kernel's rows at a time: few weights stay in
  // the thread's cache, and so does all that is made on the way. The pixels that come next are
  // fetched while it multiplies.
  void whole(std::int64_t block) const {
    constexpr std::int64_t kProductFloats = kMaxTileRows * kMaxPanelColumns + 16;
    alignas(64) float c[kWinogradProducts * kProductFloats];
    float outputs[kPixels * kMaxPanelColumns];
    const std::int64_t width = kernels_.columns, product = rows_stride() / products_;
    float* const input = input_ + thread_index() * rows_stride();
    const Tiles rows(tiles(block), kernels_.rows);
    const std::size_t phases = p_.phases.size();
    for (std::int64_t t = 0; t < rows.count; ++t)
      for (std::size_t phase = 0; phase < phases; ++phase) {
        const std::int64_t first = rows.begin(t), count = rows.rows(t);
        for (std::int64_t i = 0; i < count; ++i)
          transform_tile(phase, place(block, first + i),
                         {input + i * kStripElements, product, count * kStripElements});
        const std::size_t next_phase = (phase + 1) % phases;
        std::int64_t next = next_phase > 0 ? first : first + count;
        const std::int64_t begin = next, end = std::min(rows.size, begin + kernels_.rows);
        std::int64_t step = 0;
        for (std::int64_t panel = 0; panel < panels(); ++panel) {
          const float* w = w_[phase] + panel * products_ * l_.channels * width;
          for (std::int64_t e = 0; e < products_; ++e, w += l_.channels * width) {
            const std::int64_t ahead = kernels_.rows * ++step / (panels() * products_);
            for (; next < std::min(end, begin + ahead); ++next)
              fetch(next_phase, place(block, next));
            kernels_.strip[count](l_.channels, input + e * product, w, c + e * kProductFloats,
                                  false);
          }
          for (std::int64_t i = 0; i < count; ++i) {
            transforms_.output(c + i * width, kProductFloats, width, outputs);
            store(phase, place(block, first + i), panel, outputs);
          }
        }
      }
    for (std::size_t phase = 0; phase < moments_.size(); ++phase)
      for (std::int64_t panel = 0; panel < panels(); ++panel) write_moments(phase, block, panel);
  }

  // Floats of one such tile's transformed input; see product_stride().
  std::int64_t rows_stride() const { return products_ * (kernels_.rows * l_.channels + 16); }

  // Fetches what a tile reads and its neighbours do not, and what it writes.
  void fetch(std::size_t phase, const Place& at) const {
    if (phase == 0)  // the others read the same
      for (const WinogradSource& source : p_.sources)
        source.x.fetch(at.n, at.top >> source.halving, at.left >> source.halving,
                       kWinogradTile >> source.halving);
    for (const Pixels* y : {&p_.phases[phase].y0, &p_.phases[phase].y1})
      if (y->data)
        y->fetch<true>(at.n, at.top >> p_.down2x, at.left >> p_.down2x, kWinogradTile >> p_.down2x);
  }

  // B^T d B of one tile of a block into the block's place.
  void transform_of_block(std::size_t phase, std::int64_t first, std::int64_t block,
                          std::int64_t tile) const {
    if (tile >= tiles(first + block)) return;
    const Tiles rows(tiles(first + block), kernels_.rows);
    const std::int64_t row_tile = tile_of(rows, tile), size = rows.rows(row_tile) * kStripElements;
    transform_tile(phase, place(first + block, tile),
                   {input_ + block * l_.block_stride() + rows.begin(row_tile) * l_.channels +
                        (tile - rows.begin(row_tile)) * kStripElements,
                    l_.product_stride(), size});
  }

  // B^T d B of one tile. Beside the image the pixels are zeros.
  void transform_tile(std::size_t phase, const Place& at, const WinogradStrips& strips) const {
    const int patch = transforms_.patch();
    std::int64_t channel = 0;
    for (const WinogradSource& source : p_.sources) {
      const std::int64_t top = at.top + p_.phases[phase].top + source.top;
      const std::int64_t left = at.left + p_.phases[phase].left + source.left;
      const std::int64_t height = source.x.height << source.halving,
                         width = source.x.width << source.halving;
      const float* pixels[kWinogradProducts];
      const float** to = pixels;
      for (std::int64_t h = top; h < top + patch; ++h)
        for (std::int64_t w = left; w < left + patch; ++w) {
          const bool inside = h >= 0 && h < height && w >= 0 && w < width;
          *to++ = inside ? source.x.at(at.n, h >> source.halving, w >> source.halving) : zeros_;
        }
      transforms_.input(pixels, source.x.channels, channel, strips);
      channel += source.x.channels;
    }
    for (; channel < l_.channels; ++channel)  // of the last strip
      for (std::int64_t e = 0; e < products_; ++e)
        strips.to[e * strips.product + channel / kStripElements * strips.strip +
                  channel % kStripElements] = 0;
  }

  // The tile of the micro-kernel's rows that holds row i.
  static std::int64_t tile_of(const Tiles& rows, std::int64_t i) {
    std::int64_t tile = i / (rows.size / rows.count + 1);
    while (rows.begin(tile + 1) <= i) ++tile;
    return tile;
  }

  // The products of one block with one panel of the weights, and the way back to pixels.
  void multiply(std::size_t phase, std::int64_t first, std::int64_t block,
                std::int64_t panel) const {
    constexpr std::int64_t kProductFloats =
        Layout::kBlockTiles * kMaxPanelColumns + 16;  // see product_stride()
    alignas(64) float c[kWinogradProducts * kProductFloats];
    const std::int64_t width = kernels_.columns, count = tiles(first + block);
    const Tiles rows(count, kernels_.rows);
    // Channels [begin, begin + length) of each product, whose weights lie `step` floats apart.
    const auto products = [&](std::int64_t begin, std::int64_t length, const float* w,
                              std::int64_t step) {
      const float* input = input_ + block * l_.block_stride();
      for (std::int64_t e = 0; e < products_; ++e, input += l_.product_stride(), w += step)
        for (std::int64_t t = 0; t < rows.count; ++t)
          kernels_.strip[rows.rows(t)](
              length, input + rows.begin(t) * l_.channels + begin * rows.rows(t), w,
              c + e * kProductFloats + rows.begin(t) * width, begin > 0);
    };
    if (fresh_) {
      float* const w = transformed_ + thread_index() * products_ * fresh_stride();
      for (std::int64_t begin = 0; begin < l_.channels; begin += kFreshChannels) {
        const std::int64_t length = std::min(kFreshChannels, l_.channels - begin);
        transform_weights<Isa>(p_, phase, raw_, panel, begin, length, w, fresh_stride());
        products(begin, length, w, fresh_stride());
      }
    } else {
      const std::int64_t step = l_.channels * width;
      products(0, l_.channels, w_[phase] + panel * products_ * step, step);
    }
    float outputs[kPixels * kMaxPanelColumns];
    for (std::int64_t t = 0; t < count; ++t) {
      transforms_.output(c + t * width, kProductFloats, width, outputs);
      store(phase, place(first + block, t), panel, outputs);
    }
    if (!moments_.empty()) write_moments(phase, first + block, panel);
  }

  // Floats between two products of a thread's transformed weights; see product_stride().
  std::int64_t fresh_stride() const { return kFreshChannels * kernels_.columns + 16; }

  void store(std::size_t phase, const Place& at, std::int64_t panel, float* outputs) const {
    const Pixels& y = p_.phases[phase].y0;
    if (p_.down2x) sum_2x2(outputs);
    const std::int64_t size = kWinogradTile >> p_.down2x;
    for (std::int64_t i = 0; i < size; ++i)
      for (std::int64_t j = 0; j < size; ++j) {
        const std::int64_t h = (at.top >> p_.down2x) + i, w = (at.left >> p_.down2x) + j;
        if (h < y.height && w < y.width)
          store_pixel(phase, at.n, h, w, panel, outputs + (i * size + j) * kernels_.columns);
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

  void store_pixel(std::size_t phase, std::int64_t n, std::int64_t h, std::int64_t w,
                   std::int64_t panel, float* values) const {
    const auto& [top, left, y0, y1, residuals] = p_.phases[phase];
    const std::int64_t width = kernels_.columns, column = panel * width;
    const std::int64_t used = std::min<std::int64_t>(width, p_.columns() - column);
    const float* residual = nullptr;
    if (residuals.data)
      residual = residuals.at(n, h >> p_.residual_halving, w >> p_.residual_halving) + column;
    if (used == width && column + width <= y0.channels)
      return finish_row(width, values, bias_ + column, residual, y0.at(n, h, w) + column);
    for (std::int64_t k = 0; k < used; ++k)
      values[k] = values[k] + bias_[column + k] + (residual ? residual[k] : 0);
    const std::int64_t split = std::clamp<std::int64_t>(y0.channels - column, 0, used);
    if (split > 0) std::copy_n(values, split, y0.at(n, h, w) + column);
    if (split < used)
      std::copy_n(values + split, used - split, y1.at(n, h, w) + column + split - y0.channels);
  }

  // Of a block's tiles [first, last).
  std::int64_t pixels(std::int64_t block, std::int64_t first, std::int64_t last) const {
    std::int64_t total = 0;
    for (std::int64_t t = first; t < last; ++t) {
      const Place at = place(block, t);
      total += std::min<std::int64_t>(kWinogradTile, p_.height() - at.top) *
               std::min<std::int64_t>(kWinogradTile, p_.width() - at.left);
    }
    return total;
  }

  // Image by image, of what was just stored and is still in the cache.
  void write_moments(std::size_t phase, std::int64_t block, std::int64_t panel) const {
    const std::int64_t step = l_.together > 1 ? l_.parts.size : tiles(block);
    for (std::int64_t first = 0; first < tiles(block); first += step)
      write_moments(phase, block, panel, first, first + step, block * l_.together + first / step);
  }

  void write_moments(std::size_t phase, std::int64_t block, std::int64_t panel, std::int64_t first,
                     std::int64_t last, std::int64_t index) const {
    const std::int64_t column = panel * kernels_.columns;
    const std::int64_t used = std::min<std::int64_t>(kernels_.columns, p_.columns() - column);
    float* mean = moments_[phase] + index * 2 * l_.padded_columns + column;
    float* m2 = mean + l_.padded_columns;
    std::fill_n(mean, kernels_.columns, 0.0f);
    std::fill_n(m2, kernels_.columns, 0.0f);
    const auto count = static_cast<float>(pixels(block, first, last));
    for (std::int64_t k = 0; k < used; k += kTogether) {
      const std::int64_t channels = std::min(kTogether, used - k);
      if (channels == kTogether)
        moments_of_channels<kTogether>(phase, block, first, last, column + k, count, mean + k,
                                       m2 + k);
      else
        for (std::int64_t i = k; i < used; ++i)
          moments_of_channels<1>(phase, block, first, last, column + i, count, mean + i, m2 + i);
    }
  }

  static constexpr std::int64_t kTogether = 16;
  // Of kChannels from `column` on, which stay in registers.
  template <std::int64_t kChannels>
  void moments_of_channels(std::size_t phase, std::int64_t block, std::int64_t first,
                           std::int64_t last, std::int64_t column, float count, float* mean,
                           float* m2) const {
    const Pixels& y0 = p_.phases[phase].y0;
    const auto for_each_row = [&](const auto& f) {
      for (std::int64_t t = first; t < last; ++t) {
        const Place at = place(block, t);
        const std::int64_t right = std::min(at.left + kWinogradTile, y0.width);
        for (std::int64_t h = at.top; h < std::min(at.top + kWinogradTile, y0.height); ++h)
          for (std::int64_t w = at.left; w < right; ++w) f(y0.at(at.n, h, w) + column);
      }
    };
    float sum[kChannels] = {}, squares[kChannels] = {};
    for_each_row([&](const float* y) {
      for (std::int64_t k = 0; k < kChannels; ++k) sum[k] += y[k];
    });
    for (std::int64_t k = 0; k < kChannels; ++k) sum[k] /= count;
    for_each_row([&](const float* y) {
      for (std::int64_t k = 0; k < kChannels; ++k) squares[k] += (y[k] - sum[k]) * (y[k] - sum[k]);
    });
    std::copy_n(sum, kChannels, mean);
    std::copy_n(squares, kChannels, m2);
  }

  const Problem& p_;
  const bool fresh_;
  bool alone_ = false;  // each thread takes whole blocks
  Arena arena_;
  const Microkernels& kernels_;
  const WinogradTransforms& transforms_;
  const std::int64_t products_;
  Layout l_;
  float *zeros_ = nullptr, *input_ = nullptr, *bias_ = nullptr;
  std::vector<float*> moments_;   // of each phase, if they are wanted
  std::vector<float*> w_;         // of each phase, transformed,
  std::vector<Tensor> kept_;      // with the weight or in the workspace; or:
  RawWeight raw_;                 // as it lies,
  float* transformed_ = nullptr;  // [threads][products][fresh_stride()]
};

bool three_by_three(const Tensor& w, const ConvGeometry& geometry) {
  return w.dtype() == DType::f32 && w.dim(1) == 3 && w.dim(2) == 3 && geometry.stride == 1;
}

bool has_phases(const ConvGeometry& geometry) { return geometry.up2x && geometry.pad == 1; }

bool supported(const Conv2dFwdArgs& args, WinogradForm form) {
  return three_by_three(args.w, args.geometry) &&
         (form != WinogradForm::phases || has_phases(args.geometry));
}
bool supported(const Conv2dDgradArgs& args, WinogradForm form) {
  if (!three_by_three(args.w, args.geometry) || args.geometry.pad > 2) return false;
  if (form == WinogradForm::phases)  // whole strips of each
    return has_phases(args.geometry) && args.w.dim(0) % kStripElements == 0;
  return !args.geometry.up2x || has_phases(args.geometry);  // four copies in one tile
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

// Eleven times as many bytes.
bool phases_pay(const Tensor& low, const Tensor& w) {
  constexpr std::int64_t kMap = 4, kChannels = 32, kWeights = 256 * 256;
  return std::min(low.dim(1), low.dim(2)) >= kMap && std::min(w.dim(0), w.dim(3)) >= kChannels &&
         w.dim(0) * w.dim(3) <= kWeights && !w.storage()->frozen();
}

}  // namespace

bool winograd_pays(const Conv2dFwdArgs& args) { return pays(args.y.dim(1), args.y.dim(2), args.w); }
bool winograd_pays(const Conv2dDgradArgs& args) {
  const int copies = args.geometry.up2x ? 2 : 1;
  return pays(args.dx0.dim(1) * copies, args.dx0.dim(2) * copies, args.w);
}
bool winograd_phases_pay(const Conv2dFwdArgs& args) {
  return supported(args, WinogradForm::phases) && phases_pay(args.x0, args.w);
}
bool winograd_phases_pay(const Conv2dDgradArgs& args) {
  return supported(args, WinogradForm::phases) && phases_pay(args.dx0, args.w);
}

template <class Isa, WinogradForm kForm, class Args>
bool conv2d_winograd_supports(const Args& args) {
  return Isa::available() && args.dtype() == DType::f32 && supported(args, kForm);
}

template <class Isa, WinogradForm kForm, class Args>
std::size_t conv2d_winograd_workspace(const Args& args) {
  const Problem problem = winograd_problem(args, kForm == WinogradForm::phases ? 2 : 3);
  std::size_t bytes = Plan<Isa>(problem, kForm == WinogradForm::fresh, nullptr).bytes();
  if constexpr (std::is_same_v<Args, Conv2dFwdArgs>)
    if (args.skip_w)
      bytes = std::max(bytes, conv2d_indirect_workspace<Isa, Conv2dFwdArgs>(skip_of(args)));
  return bytes;
}

template <class Isa, WinogradForm kForm, class Args>
void conv2d_winograd_run(const Args& args, void* workspace, Stream stream) {
  const Problem problem = winograd_problem(args, kForm == WinogradForm::phases ? 2 : 3);
  if constexpr (std::is_same_v<Args, Conv2dFwdArgs>)
    if (args.skip_w) conv2d_indirect_run<Isa, Conv2dFwdArgs>(skip_of(args), workspace, stream);
  Plan<Isa>(problem, kForm == WinogradForm::fresh, workspace).run();
}

#define TILLER_INSTANTIATE(Isa, kForm, Args)                                             \
  template bool conv2d_winograd_supports<Isa, WinogradForm::kForm>(const Args&);         \
  template std::size_t conv2d_winograd_workspace<Isa, WinogradForm::kForm>(const Args&); \
  template void conv2d_winograd_run<Isa, WinogradForm::kForm>(const Args&, void*, Stream);
#define TILLER_INSTANTIATE_FORMS(Isa, Args) \
  TILLER_INSTANTIATE(Isa, kept, Args)       \
  TILLER_INSTANTIATE(Isa, fresh, Args)      \
  TILLER_INSTANTIATE(Isa, phases, Args)
TILLER_INSTANTIATE_FORMS(Avx2, Conv2dFwdArgs)
TILLER_INSTANTIATE_FORMS(Avx2, Conv2dDgradArgs)
TILLER_INSTANTIATE_FORMS(Avx512, Conv2dFwdArgs)
TILLER_INSTANTIATE_FORMS(Avx512, Conv2dDgradArgs)
#undef TILLER_INSTANTIATE
#undef TILLER_INSTANTIATE_FORMS

}  // namespace tiller
