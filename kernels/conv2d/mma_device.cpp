#include "kernels/conv2d/mma_rows.h"

#include "kernels/conv2d/device_params.h"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// The forward of dy that is the data gradient, without its weights and geometry.
MmaParams dgrad_params(const Conv2dDgradArgs& args, const MmaSources& dy) {
  const ConvShape f = shape_of(ConvSizes(args));
  MmaParams p{};
  p.z = {f.n, f.p, f.q, dy.c0, dy.c, f.c, 0, 0, 0, 0, 0, 0, 1, 0, 1};
  p.x0 = dy.first;
  p.y0 = view_of(args.dx0);
  p.y1 = view_of(args.dx1);
  p.split = f.c0;
  p.quads = in_quads(args.dx0) && in_quads(args.dx1);
  p.out_stride = 1;
  p.out_h = f.h;
  p.out_w = f.w;
  return p;
}

// Input pixels of residue `phase` modulo the stride, along one side: which taps reach them, and from
// where in dy they read.
struct Phase {
  int pixels, first_tap, taps, pad;
};
Phase phase_of(int phase, int size, int taps, const ConvGeometry& g) {
  const int first = (phase + g.pad) % g.stride;
  const int count = first < taps ? (taps - first + g.stride - 1) / g.stride : 0;
  // Tap first + stride j of pixel stride i + phase read dy[i + (phase + pad - first) / stride - j].
  return {(size - phase + g.stride - 1) / g.stride, first, count,
          count - 1 - (phase + g.pad - first) / g.stride};
}

}  // namespace

bool mma_serves(const Conv2dFwdArgs& args) { return countable(ConvSizes(args)); }
bool mma_serves(const Conv2dDgradArgs& args) {
  return countable(ConvSizes(args)) && !(args.geometry.up2x && args.geometry.stride > 1);
}
bool mma_serves(const Conv2dWgradArgs& args) { return countable(ConvSizes(args)); }

void mma_run(const Conv2dFwdArgs& args, const MmaChoice& choice, Arena& arena, Stream stream) {
  const Conv2dFwdParams c = params_of(args);
  const MmaSources x = mma_sources(args.x0, args.x1, arena, stream);
  const MmaSources skip = mma_sources(args.skip0, args.skip1, arena, stream);
  MmaParams p{};
  p.z = c.z;
  p.z.c0 = x.c0;
  p.z.c = x.c;
  p.z.c2 = skip.c0;
  p.z.skip_c = skip.c;
  p.pad_h = p.pad_w = c.z.pad;
  p.x0 = x.first;
  p.x1 = x.second;
  p.skip0 = skip.first;
  p.skip1 = skip.second;
  p.bias = c.bias;
  p.skip_bias = c.skip_bias;
  p.residual = c.residual;
  p.y0 = c.y;
  p.split = c.z.k;
  p.residual_up2x = c.residual_up2x;
  p.quads = in_quads(args.y) && in_quads(args.residual);
  p.out_stride = 1;
  Tensor w, skip_w;  // held while the kernels are launched
  if (!arena.measuring()) {
    w = weight_for(args.w, {args.dtype(), x.c}, stream);
    p.w = w.raw();
    if (args.skip_w) skip_w = weight_for(args.skip_w, {args.dtype(), skip.c}, stream);
    p.skip_w = skip_w ? skip_w.raw() : nullptr;
  }
  run_product(p, choice, args.y, args.stats, arena, stream);
}

void mma_run(const Conv2dDgradArgs& args, const MmaChoice& choice, Arena& arena, Stream stream) {
  const MmaSources dy = mma_sources(args.dy, {}, arena, stream);
  const ConvShape f = shape_of(ConvSizes(args));
  const ConvGeometry& g = args.geometry;
  const auto launch_with = [&](MmaParams p, const WeightRequest& request) {
    Tensor w;
    p.w = p.x0.data;  // no taps: nothing is read through it
    if (!arena.measuring() && p.z.r > 0 && p.z.s > 0) {
      w = weight_for(args.w, request, stream);
      p.w = w.raw();
    }
    run_product(p, choice, args.dx0, {}, arena, stream);
  };
  if (g.up2x) {  // a forward of stride 2 over dy, on taps of all four copies
    MmaParams p = dgrad_params(args, dy);
    p.z.r = f.r + 1;
    p.z.s = f.s + 1;
    p.z.p = f.h;
    p.z.q = f.w;
    p.z.stride = 2;
    p.pad_h = f.r - 1 - g.pad;
    p.pad_w = f.s - 1 - g.pad;
    return launch_with(p, {args.dtype(), dy.c, WeightForm::up2x});
  }
  for (int i = 0; i < g.stride; ++i)
    for (int j = 0; j < g.stride; ++j) {
      const Phase down = phase_of(i, f.h, f.r, g), across = phase_of(j, f.w, f.s, g);
      if (down.pixels == 0 || across.pixels == 0) continue;
      MmaParams p = dgrad_params(args, dy);
      const bool reached = down.taps > 0 && across.taps > 0;
      p.z.r = reached ? down.taps : 0;
      p.z.s = reached ? across.taps : 0;
      p.z.p = down.pixels;
      p.z.q = across.pixels;
      p.pad_h = down.pad;
      p.pad_w = across.pad;
      p.out_stride = g.stride;
      p.out_p = i;
      p.out_q = j;
      launch_with(
          p, {args.dtype(), dy.c, WeightForm::phase, g.stride, down.first_tap, across.first_tap});
    }
}

void mma_run(const Conv2dWgradArgs& args, Arena& arena, Stream stream) {
  const MmaSources x = mma_sources(args.x0, args.x1, arena, stream);
  const MmaSources dy = mma_sources(args.dy, {}, arena, stream);
  MmaWgradParams p{};
  p.z = shape_of(ConvSizes(args));
  p.k = p.z.k;
  p.c = p.z.c;
  p.z.c0 = x.c0;
  p.z.c = x.c;
  p.z.k = dy.c;
  p.x0 = x.first;
  p.x1 = x.second;
  p.dy = dy.first;
  p.dw = args.dw.data<float>();
  p.dbias = args.dbias ? args.dbias.data<float>() : nullptr;
  p.pairs = args.dw.aligned(8);
  run_wgrad_product(p, arena, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
