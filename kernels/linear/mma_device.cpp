#include "kernels/linear/mma_rows.h"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// A 1x1 convolution over one row of M pixels: a product of m rows, sums over c, k results.
ConvShape shape_of(std::int64_t m, int c, std::int64_t k) {
  const auto narrow = [](std::int64_t size) { return static_cast<int>(size); };
  return {1, 1, narrow(m), c, c, narrow(k), 1, 1, 1, narrow(m), 0, 0, 1, 0, 1};
}

MmaParams product_of(const MmaSources& x, const Tensor& y) {
  MmaParams p{};
  p.z = shape_of(y.rows(), x.c, y.cols());
  p.x0 = x.first;
  p.y0 = view_of(y);
  p.split = p.z.k;
  p.out_stride = 1;
  return p;
}

MmaNorm norm_params(const LinearFwdArgs& args) {
  const LinearNorm& norm = args.norm;
  return {norm.stats.data<const float>(),
          norm.gamma.data<const float>(),
          norm.beta.data<const float>(),
          norm.mean_rstd.data<float>(),
          static_cast<int>(args.x.rows() / args.x.dim(0)),
          norm.groups,
          static_cast<float>(norm.eps)};
}

// What v3_normed asks for.
bool normed_supports(const LinearFwdArgs& args) {
  const Tensor& x = args.x;
  LinearFwdArgs plain = args;
  plain.norm = {};
  return fwd_supports(plain) && mma_dtype(x.dtype(), Math::half) && x.rows() > 0 &&
         x.rows() / x.dim(0) % kNormRows == 0 && x.cols() <= kNormChannels && x.cols() % 8 == 0 &&
         x.aligned(16) && args.norm.stats.dense() && args.norm.mean_rstd.dense();
}

}  // namespace

bool mma_serves(const LinearFwdArgs& args) {
  if (args.norm) return normed_supports(args);
  return !args.silu_input && fwd_supports(args);
}
bool mma_serves(const LinearDgradArgs& args) { return dgrad_supports(args); }
bool mma_serves(const LinearWgradArgs& args) { return !args.silu_input && wgrad_supports(args); }

void mma_run(const LinearFwdArgs& args, const MmaChoice& choice, Arena& arena, Stream stream) {
  const MmaSources x = mma_sources(args.x, {}, arena, stream);
  MmaParams p = product_of(x, args.y);
  p.bias = view_of(args.bias);
  p.residual = view_of(args.residual);
  p.quads = in_quads(args.y) && in_quads(args.residual);
  if (args.norm) p.norm = norm_params(args);
  Tensor w;  // held while the kernels are launched
  if (!arena.measuring()) {
    w = weight_for(args.w, {args.dtype(), x.c}, stream);
    p.w = w.raw();
  }
  run_product(p, choice, args.y, {}, arena, stream);
}

void mma_run(const LinearDgradArgs& args, const MmaChoice& choice, Arena& arena, Stream stream) {
  const MmaSources dy = mma_sources(args.dy, {}, arena, stream);
  MmaParams p = product_of(dy, args.dx);
  p.quads = in_quads(args.dx);
  Tensor w;
  if (!arena.measuring()) {
    w = weight_for(args.w, {args.dtype(), dy.c, WeightForm::phase}, stream);
    p.w = w.raw();
  }
  run_product(p, choice, args.dx, {}, arena, stream);
}

void mma_run(const LinearWgradArgs& args, Arena& arena, Stream stream) {
  const MmaSources x = mma_sources(args.x, {}, arena, stream);
  const MmaSources dy = mma_sources(args.dy, {}, arena, stream);
  MmaWgradParams p{};
  p.z = shape_of(args.dy.rows(), x.c, dy.c);
  p.k = static_cast<int>(args.dy.cols());
  p.c = static_cast<int>(args.x.cols());
  p.x0 = x.first;
  p.dy = dy.first;
  p.dw = args.dw.data<float>();
  p.dbias = args.dbias ? args.dbias.data<float>() : nullptr;
  p.pairs = args.dw.aligned(8);
  run_wgrad_product(p, arena, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
