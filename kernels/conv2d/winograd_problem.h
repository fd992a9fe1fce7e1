#pragma once
// What a Winograd convolution reads and writes: forward or transposed, whole or in phases.
//
// A 3x3 convolution over a 2x up-sampled image is four 2x2 convolutions over the image itself, one
// for each parity of the output's row and column (kernels/conv2d/taps.h). In the forward they share
// the input and write every second pixel; in the input gradient, which reads every second pixel of dy
// for each, their products are summed before the way back to pixels.
#include <vector>

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/pixels.h"
#include "kernels/gemm/gemm.h"

namespace tiller {

/// Of the 2x2 taps of a phase the one that tap 0 to 8 of the 3x3 is added to: of two rows of the
/// up-sampled image that are one row of the image, the weights are added. `phase` is 2 * parity of the
/// output's row + parity of its column.
constexpr std::int64_t phase_tap(std::int64_t phase, std::int64_t tap) {
  return 2 * (tap / 3 > phase / 2) + (tap % 3 > phase % 2);
}

struct WinogradSource {
  Pixels x;
  std::int64_t top, left;  ///< of the patch, from the tile's first output
  int halving = 0;         ///< 1: read through a 2x up-sampling
};

struct WinogradPhase {
  std::int64_t top, left;  ///< of the patch, besides the source's
  Pixels y0, y1, residual;
};

struct WinogradProblem {
  std::int64_t images = 0;
  int taps = 3;                         ///< down and across, of what is computed
  std::vector<WinogradSource> sources;  ///< concatenated
  std::vector<WinogradPhase> phases;    ///< of the output: one, or four in the order of phase_tap()
  Tensor w;                             ///< [K,3,3,C]
  bool transposed = false;
  int down2x = 0;  ///< 1: outputs are sums over 2x2 pixels of the convolution
  int residual_halving = 0;
  Tensor bias, stats;  // or none

  /// Whether source i is phase i of dy: each has all channels, and its own taps.
  bool summed() const { return transposed && taps == 2; }
  std::int64_t height() const { return phases[0].y0.height << down2x; }  ///< of the convolution
  std::int64_t width() const { return phases[0].y0.width << down2x; }
  /// Channels of one source, or of all that are concatenated.
  std::int64_t source_channels() const { return transposed ? w.dim(0) : w.dim(3); }
  std::int64_t channels() const { return source_channels() * (summed() ? 4 : 1); }
  std::int64_t padded_channels() const {
    return (channels() + kStripElements - 1) / kStripElements * kStripElements;
  }
  std::int64_t columns() const { return transposed ? w.dim(3) : w.dim(0); }
};

/// With `taps` of 2 the four phases; the geometry's up2x must hold.
WinogradProblem winograd_problem(const Conv2dFwdArgs& args, int taps);
WinogradProblem winograd_problem(const Conv2dDgradArgs& args, int taps);

/// The tiles of one phase of the output in blocks: parts of an image, or several whole images where
/// these are small.
struct WinogradLayout {
  static constexpr std::int64_t kBlockTiles = 70;  ///< five tiles of the micro-kernel's rows
  /// Of transformed input at a time.
  static constexpr std::int64_t kGroupFloats = std::int64_t{3} << 20;

  std::int64_t down, across;              ///< tiles of an image
  std::int64_t images, together;          ///< all, and of one block
  Tiles parts;                            ///< an image's tiles, cut into blocks
  std::int64_t products;                  ///< of a tile
  std::int64_t channels, padded_columns;  ///< both padded
  std::int64_t group;                     ///< blocks whose transformed input is held at a time

  WinogradLayout(const WinogradProblem& p, std::int64_t products, std::int64_t panel_columns);

  std::int64_t all_blocks() const { return (images + together - 1) / together * parts.count; }
  std::int64_t tiles(std::int64_t block) const {
    return together > 1 ? std::min(together, images - block * together) * parts.size
                        : parts.rows(block % parts.count);
  }
  /// Floats between two products of one block: an odd number of cache lines, so that the 36 streams
  /// that a transform writes do not meet in one set of the cache.
  std::int64_t product_stride() const { return longest() * channels + 16; }
  std::int64_t block_stride() const { return products * product_stride(); }
  std::int64_t longest() const {
    return together > 1 ? together * parts.size : (parts.size + parts.count - 1) / parts.count;
  }

  struct Place {
    std::int64_t n, top, left;  ///< of a tile's first output pixel
  };
  Place place(std::int64_t block, std::int64_t tile) const;
};

}  // namespace tiller
