// Rows cudnn of conv2d_fwd, conv2d_dgrad and conv2d_wgrad: dense tensors, one source, no bias,
// nothing fused. There to compare with, never chosen.
#include "kernels/conv2d/conv2d.h"
#include "kernels/cudnn/conv_plan.h"
#include "kernels/cudnn/rows.h"
#include "kernels/elementwise/elementwise.h"

namespace tiller {

namespace {

using cudnn::conv_plan;
using cudnn::ConvKind;
using cudnn::ConvProblem;

bool plain(const Tensor& t) { return t.dense() && t.aligned(16); }

// The three rows: half tensors by tensor cores, f32 tensors by TF32, f32 tensors as they are.
template <Math kMath, class Args>
bool serves(const Args& args) {
  const bool half = args.dtype() == DType::f16 || args.dtype() == DType::bf16;
  return kMath == Math::half ? half : args.dtype() == DType::f32;
}

template <Math kMath>
ConvProblem problem(const Conv2dFwdArgs& a) {
  return {ConvKind::forward, a.x0.shape(),      a.w.shape(),    a.y.shape(),
          a.dtype(),         a.geometry.stride, a.geometry.pad, kMath == Math::f32};
}
template <Math kMath>
ConvProblem problem(const Conv2dDgradArgs& a) {
  return {ConvKind::dgrad, a.dx0.shape(),     a.w.shape(),    a.dy.shape(),
          a.dtype(),       a.geometry.stride, a.geometry.pad, kMath == Math::f32};
}
template <Math kMath>
ConvProblem problem(const Conv2dWgradArgs& a) {
  return {ConvKind::wgrad, a.x0.shape(),      a.dw.shape(),   a.dy.shape(),
          a.dtype(),       a.geometry.stride, a.geometry.pad, kMath == Math::f32};
}

bool bare(const Conv2dFwdArgs& a) {
  return plain(a.x0) && plain(a.w) && plain(a.y) && !a.x1 && !a.bias && !a.residual && !a.skip0 &&
         !a.skip_bias && !a.stats;
}
bool bare(const Conv2dDgradArgs& a) { return plain(a.dy) && plain(a.w) && plain(a.dx0) && !a.dx1; }
bool bare(const Conv2dWgradArgs& a) {
  return plain(a.x0) && plain(a.dy) && plain(a.dw) && !a.x1 && !a.dbias;
}

template <Math kMath, class Args>
bool supports(const Args& args) {
  return serves<kMath>(args) && bare(args) && !args.geometry.up2x &&
         conv_plan(problem<kMath>(args)) != nullptr;
}
template <Math kMath, class Args>
std::size_t workspace(const Args& args) {
  return conv_plan(problem<kMath>(args))->workspace();
}

// A weight kept in f32 beside half tensors is rounded once.
Tensor weight(const Tensor& w, DType dtype) {
  if (w.dtype() == dtype) return w;
  return derived(w, dtype == DType::f16 ? "cudnn_f16" : "cudnn_bf16", [&] {
    const UnaryArgs args{UnaryKind::copy, w, Tensor::empty(w.shape(), dtype, w.device()), 1, 0};
    run(unary, args);
    return args.y;
  });
}

template <Math kMath>
void run_fwd(const Conv2dFwdArgs& a, void* scratch, Stream stream) {
  const Tensor w = weight(a.w, a.dtype());
  conv_plan(problem<kMath>(a))->run(a.x0.raw(), w.raw(), a.y.raw(), scratch, stream);
}
template <Math kMath>
void run_dgrad(const Conv2dDgradArgs& a, void* scratch, Stream stream) {
  const Tensor w = weight(a.w, a.dtype());
  conv_plan(problem<kMath>(a))->run(a.dx0.raw(), w.raw(), a.dy.raw(), scratch, stream);
}
template <Math kMath>
void run_wgrad(const Conv2dWgradArgs& a, void* scratch, Stream stream) {
  conv_plan(problem<kMath>(a))->run(a.x0.raw(), a.dw.raw(), a.dy.raw(), scratch, stream);
}

}  // namespace

template <>
std::span<const Row<Conv2dFwdArgs>> cudnn_rows<Conv2dFwdArgs>() {
  static const Row<Conv2dFwdArgs> rows[] = {
      {"cudnn_f32", DeviceType::cuda, Math::f32, RowKind::peer, supports<Math::f32, Conv2dFwdArgs>,
       workspace<Math::f32, Conv2dFwdArgs>, run_fwd<Math::f32>},
      {"cudnn_tf32", DeviceType::cuda, Math::tf32, RowKind::peer,
       supports<Math::tf32, Conv2dFwdArgs>, workspace<Math::tf32, Conv2dFwdArgs>,
       run_fwd<Math::tf32>},
      {"cudnn", DeviceType::cuda, Math::half, RowKind::peer, supports<Math::half, Conv2dFwdArgs>,
       workspace<Math::half, Conv2dFwdArgs>, run_fwd<Math::half>}};
  return rows;
}
template <>
std::span<const Row<Conv2dDgradArgs>> cudnn_rows<Conv2dDgradArgs>() {
  static const Row<Conv2dDgradArgs> rows[] = {
      {"cudnn_f32", DeviceType::cuda, Math::f32, RowKind::peer,
       supports<Math::f32, Conv2dDgradArgs>, workspace<Math::f32, Conv2dDgradArgs>,
       run_dgrad<Math::f32>},
      {"cudnn_tf32", DeviceType::cuda, Math::tf32, RowKind::peer,
       supports<Math::tf32, Conv2dDgradArgs>, workspace<Math::tf32, Conv2dDgradArgs>,
       run_dgrad<Math::tf32>},
      {"cudnn", DeviceType::cuda, Math::half, RowKind::peer, supports<Math::half, Conv2dDgradArgs>,
       workspace<Math::half, Conv2dDgradArgs>, run_dgrad<Math::half>}};
  return rows;
}
template <>
std::span<const Row<Conv2dWgradArgs>> cudnn_rows<Conv2dWgradArgs>() {
  static const Row<Conv2dWgradArgs> rows[] = {
      {"cudnn_f32", DeviceType::cuda, Math::f32, RowKind::peer,
       supports<Math::f32, Conv2dWgradArgs>, workspace<Math::f32, Conv2dWgradArgs>,
       run_wgrad<Math::f32>},
      {"cudnn_tf32", DeviceType::cuda, Math::tf32, RowKind::peer,
       supports<Math::tf32, Conv2dWgradArgs>, workspace<Math::tf32, Conv2dWgradArgs>,
       run_wgrad<Math::tf32>},
      {"cudnn", DeviceType::cuda, Math::half, RowKind::peer, supports<Math::half, Conv2dWgradArgs>,
       workspace<Math::half, Conv2dWgradArgs>, run_wgrad<Math::half>}};
  return rows;
}

}  // namespace tiller
