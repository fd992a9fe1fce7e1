// Rows onednn of conv2d_fwd, conv2d_dgrad and conv2d_wgrad.
#include "kernels/conv2d/peer.h"
#include "kernels/conv2d/sizes.h"
#include "kernels/onednn.h"

namespace tiller {

namespace {

using namespace onednn;

// One convolution as oneDNN describes it: dims are NCHW and OIHW whatever the layout.
struct Problem {
  std::string name;
  Dims in, weight, out, strides, before, after;  // before and after: the padding

  Desc source() const { return desc(in, Tag::nhwc); }
  Desc target() const { return desc(out, Tag::nhwc); }
  Desc plain_weight() const { return desc(weight, Tag::ohwi); }
  Desc any_weight() const { return desc(weight, Tag::any); }
  Desc bias(bool present) const { return present ? desc({weight[0]}, Tag::a) : Desc(); }
};

// The padding behind is what makes the last output's last tap fall on the last element.
Problem problem(const char* name, const Dims& in, const Dims& weight, const Dims& out, int stride,
                std::int64_t pad) {
  Problem p{{}, in, weight, out, {stride, stride}, {pad, pad}, {}};
  for (const std::size_t i : {2u, 3u})
    p.after.push_back((out[i] - 1) * stride + weight[i] - in[i] - pad);
  p.name = fmt::format("{} {} {} {} stride {} pad {}", name, fmt::join(in, "x"),
                       fmt::join(weight, "x"), fmt::join(out, "x"), stride, pad);
  return p;
}

template <class Args>
Problem forward_problem(const char* name, const Args& args) {
  const ConvSizes z(args);
  return problem(name, {z.n, z.c, z.h, z.w}, {z.k, z.c, z.r, z.s}, {z.n, z.k, z.p, z.q},
                 z.geometry.stride, z.geometry.pad);
}

// The gradient of a convolution with stride 1 as the forward on flipped weights, as our own rows do.
Problem flipped_problem(const Conv2dDgradArgs& args) {
  const ConvSizes z(args);
  return problem("conv2d_dgrad", {z.n, z.k, z.p, z.q}, {z.c, z.k, z.r, z.s}, {z.n, z.c, z.h, z.w},
                 1, z.r - 1 - z.geometry.pad);
}

auto describe_forward(const Problem& p, bool bias, bool add, dnnl::prop_kind kind) {
  dnnl::primitive_attr attr;
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  return describe<dnnl::convolution_forward>(attr, kind, dnnl::algorithm::convolution_direct,
                                             p.source(), p.any_weight(), p.bias(bias), p.target(),
                                             p.strides, p.before, p.after);
}

const Compiled* compiled_forward(const Problem& p, bool bias, bool add) {
  return compiled(fmt::format("{}{}{}", p.name, bias ? " bias" : "", add ? " add" : ""),
                  [&]() -> std::optional<Compiled> {
                    auto described =
                        describe_forward(p, bias, add, dnnl::prop_kind::forward_inference);
                    if (!skip_reference(described)) return {};
                    return Compiled{dnnl::convolution_forward(described), described.weights_desc()};
                  });
}

// fwd

const Compiled* compiled_for(const Conv2dFwdArgs& args) {
  return compiled_forward(forward_problem("conv2d_fwd", args), args.bias.defined(),
                          args.residual.defined());
}

bool fwd_supports(const Conv2dFwdArgs& args) {
  return plain(args.x0) && plain(args.w) && plain(args.y) && !args.x1 && !args.skip0 &&
         !args.skip_bias && !args.stats && !args.geometry.up2x && !args.residual_up2x &&
         (!args.residual || plain(args.residual)) && compiled_for(args);
}

void fwd_run(const Conv2dFwdArgs& args, void*, Stream) {
  const Problem p = forward_problem("conv2d_fwd", args);
  const Compiled& conv = *compiled_for(args);
  const Tensor w = packed(args.w, p.name, p.plain_weight(), conv.weights, [&] { return args.w; });
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, memory(p.source(), args.x0)},
                                                  {DNNL_ARG_WEIGHTS, memory(conv.weights, w)},
                                                  {DNNL_ARG_DST, memory(p.target(), args.y)}};
  if (args.bias) arguments[DNNL_ARG_BIAS] = memory(p.bias(true), args.bias);
  if (args.residual) reorder(p.target(), args.residual, p.target(), args.y);
  execute(conv, arguments);
}

// dgrad

const Compiled* compiled_for(const Conv2dDgradArgs& args) {
  if (args.geometry.stride == 1) return compiled_forward(flipped_problem(args), false, false);
  const Problem p = forward_problem("conv2d_dgrad", args);
  return compiled(p.name, [&]() -> std::optional<Compiled> {
    const auto forward = describe_forward(p, false, false, dnnl::prop_kind::forward_training);
    auto described = describe_backward<dnnl::convolution_backward_data>(
        forward, dnnl::algorithm::convolution_direct, p.source(), p.any_weight(), p.target(),
        p.strides, p.before, p.after);
    if (!skip_reference(described)) return {};
    return Compiled{dnnl::convolution_backward_data(described), described.weights_desc()};
  });
}

bool dgrad_supports(const Conv2dDgradArgs& args) {
  const ConvGeometry& g = args.geometry;
  return plain(args.dy) && plain(args.w) && plain(args.dx0) && !args.dx1 && !g.up2x &&
         g.pad < args.w.dim(1) && args.w.dim(1) == args.w.dim(2) && compiled_for(args);
}

// [K,R,S,C] to [C,R,S,K] with both taps reversed.
Tensor flipped(const Tensor& w) {
  const std::int64_t k = w.dim(0), taps = w.dim(1) * w.dim(2), c = w.dim(3);
  Tensor out = Tensor::empty({c, w.dim(1), w.dim(2), k});
  const auto* from = static_cast<const float*>(w.raw());
  for (std::int64_t i = 0; i < k; ++i)
    for (std::int64_t tap = 0; tap < taps; ++tap)
      for (std::int64_t j = 0; j < c; ++j)
        out.data<float>()[(j * taps + taps - 1 - tap) * k + i] = *from++;
  return out;
}

void dgrad_run(const Conv2dDgradArgs& args, void*, Stream) {
  const Compiled& conv = *compiled_for(args);
  if (args.geometry.stride == 1) {
    const Problem p = flipped_problem(args);
    const Tensor w =
        packed(args.w, p.name, p.plain_weight(), conv.weights, [&] { return flipped(args.w); });
    return execute(conv, {{DNNL_ARG_SRC, memory(p.source(), args.dy)},
                          {DNNL_ARG_WEIGHTS, memory(conv.weights, w)},
                          {DNNL_ARG_DST, memory(p.target(), args.dx0)}});
  }
  const Problem p = forward_problem("conv2d_dgrad", args);
  const Tensor w = packed(args.w, p.name, p.plain_weight(), conv.weights, [&] { return args.w; });
  execute(conv, {{DNNL_ARG_DIFF_DST, memory(p.target(), args.dy)},
                 {DNNL_ARG_WEIGHTS, memory(conv.weights, w)},
                 {DNNL_ARG_DIFF_SRC, memory(p.source(), args.dx0)}});
}

// wgrad

const Compiled* compiled_for(const Conv2dWgradArgs& args) {
  const Problem p = forward_problem("conv2d_wgrad", args);
  const bool bias = args.dbias.defined();
  return compiled(p.name + (bias ? " bias" : ""), [&]() -> std::optional<Compiled> {
    const auto forward = describe_forward(p, bias, false, dnnl::prop_kind::forward_training);
    auto described = describe_backward<dnnl::convolution_backward_weights>(
        forward, dnnl::algorithm::convolution_direct, p.source(), p.any_weight(), p.bias(bias),
        p.target(), p.strides, p.before, p.after);
    if (!skip_reference(described)) return {};
    return Compiled{dnnl::convolution_backward_weights(described), described.diff_weights_desc()};
  });
}

bool wgrad_supports(const Conv2dWgradArgs& args) {
  return plain(args.x0) && plain(args.dy) && plain(args.dw) && !args.x1 && !args.geometry.up2x &&
         compiled_for(args);
}

// The gradient in oneDNN's layout, before it is brought into ours.
std::size_t wgrad_workspace(const Conv2dWgradArgs& args) {
  return compiled_for(args)->weights.get_size();
}

void wgrad_run(const Conv2dWgradArgs& args, void* workspace, Stream) {
  const Problem p = forward_problem("conv2d_wgrad", args);
  const Compiled& conv = *compiled_for(args);
  dnnl::memory theirs(conv.weights, engine(), workspace);
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, memory(p.source(), args.x0)},
                                                  {DNNL_ARG_DIFF_DST, memory(p.target(), args.dy)},
                                                  {DNNL_ARG_DIFF_WEIGHTS, theirs}};
  if (args.dbias) arguments[DNNL_ARG_DIFF_BIAS] = memory(p.bias(true), args.dbias);
  execute(conv, arguments);
  const Threads guard;
  dnnl::memory ours = memory(p.plain_weight(), args.dw);
  dnnl::reorder(theirs, ours).execute(stream(), theirs, ours);
  stream().wait();
}

}  // namespace

std::span<const Row<Conv2dFwdArgs>> conv2d_fwd_peers() {
  static const Row<Conv2dFwdArgs> rows[] = {
      {"onednn", DeviceType::cpu, Math::f32, RowKind::peer, fwd_supports, nullptr, fwd_run}};
  return rows;
}

std::span<const Row<Conv2dDgradArgs>> conv2d_dgrad_peers() {
  static const Row<Conv2dDgradArgs> rows[] = {
      {"onednn", DeviceType::cpu, Math::f32, RowKind::peer, dgrad_supports, nullptr, dgrad_run}};
  return rows;
}

std::span<const Row<Conv2dWgradArgs>> conv2d_wgrad_peers() {
  static const Row<Conv2dWgradArgs> rows[] = {{"onednn", DeviceType::cpu, Math::f32, RowKind::peer,
                                               wgrad_supports, wgrad_workspace, wgrad_run}};
  return rows;
}

}  // namespace tiller
