#include "kernels/conv2d/winograd_problem.h"

#include "kernels/conv2d/winograd_transforms.h"

namespace tiller {

// The 1x1 convolution of the skip operand goes first, into y, with its bias and the residual; the
// 3x3 convolution is then added to y.
WinogradProblem winograd_problem(const Conv2dFwdArgs& args, int taps) {
  WinogradProblem p;
  p.images = args.y.dim(0);
  p.taps = taps;
  p.w = args.w;
  p.bias = args.bias;
  p.stats = args.stats;
  const bool phases = taps == 2;
  const std::int64_t pad = phases ? 1 : args.geometry.pad;
  for (const Tensor* x : {&args.x0, &args.x1})
    if (*x) p.sources.push_back({Pixels(*x), -pad, -pad, args.geometry.up2x && !phases});
  const Pixels y(args.y), residual(args.skip_w ? args.y : args.residual);
  const bool half = args.residual_up2x && !args.skip_w;
  if (!phases) {
    p.phases.push_back({0, 0, y, {}, residual});
    p.residual_halving = half;
    return p;
  }
  for (const int a : {0, 1})
    for (const int b : {0, 1})
      p.phases.push_back({a, b, y.phase(a, b), {}, half ? residual : residual.phase(a, b)});
  return p;
}

// Of a stride of one: a convolution of dy with the taps reversed. An up-sampled input's gradient is
// summed over each pixel's four copies: behind the convolution, or, in phases, within.
WinogradProblem winograd_problem(const Conv2dDgradArgs& args, int taps) {
  WinogradProblem p;
  p.images = args.dx0.dim(0);
  p.taps = taps;
  p.w = args.w;
  p.transposed = true;
  p.phases.push_back({0, 0, Pixels(args.dx0), Pixels(args.dx1), {}});
  const Pixels dy(args.dy);
  if (taps == 2) {
    for (const int a : {0, 1})
      for (const int b : {0, 1}) p.sources.push_back({dy.phase(a, b), -a, -b});
    return p;
  }
  p.down2x = args.geometry.up2x;
  p.sources.push_back({dy, args.geometry.pad - 2, args.geometry.pad - 2});
  return p;
}

WinogradLayout::WinogradLayout(const WinogradProblem& p, std::int64_t products_of_tile,
                               std::int64_t panel_columns)
    : down((p.height() + kWinogradTile - 1) / kWinogradTile),
      across((p.width() + kWinogradTile - 1) / kWinogradTile),
      images(p.images),
      together(std::max<std::int64_t>(1, std::min(images, kBlockTiles / (down * across)))),
      parts(down * across, kBlockTiles),
      products(products_of_tile),
      channels(p.padded_channels()),
      padded_columns((p.columns() + panel_columns - 1) / panel_columns * panel_columns) {
  const std::int64_t most = std::max<std::int64_t>(1, kGroupFloats / block_stride());
  const std::int64_t groups = (all_blocks() + most - 1) / most;
  group = (all_blocks() + groups - 1) / groups;
}

WinogradLayout::Place WinogradLayout::place(std::int64_t block, std::int64_t tile) const {
  const std::int64_t image = block / parts.count * together + tile / parts.size;
  const std::int64_t at =
      together > 1 ? tile % parts.size : parts.begin(block % parts.count) + tile;
  return {image, at / across * kWinogradTile, at % across * kWinogradTile};
}

}  // namespace tiller
