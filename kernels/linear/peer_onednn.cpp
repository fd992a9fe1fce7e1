// Rows onednn of linear_fwd, linear_dgrad and linear_wgrad.
#include "kernels/linear/peer.h"
#include "kernels/onednn.h"

namespace tiller {

namespace {

using namespace onednn;

// x [m,c] times w [k,c] transposed; the gradient with respect to x is the same with c and k
// exchanged and the weight read the other way.
struct Problem {
  std::string name;
  std::int64_t m, c, k;
  Tag weight_tag;

  Desc source() const { return desc({m, c}, Tag::nc); }
  Desc target() const { return desc({m, k}, Tag::nc); }
  Desc plain_weight() const { return desc({k, c}, weight_tag); }
  Desc any_weight() const { return desc({k, c}, Tag::any); }
  Desc bias(bool present) const { return present ? desc({k}, Tag::a) : Desc(); }
};

Problem problem(const char* name, std::int64_t m, std::int64_t c, std::int64_t k, Tag tag) {
  return {fmt::format("{} {}x{}x{}", name, m, c, k), m, c, k, tag};
}
Problem problem_of(const LinearFwdArgs& args) {
  return problem("linear_fwd", args.x.rows(), args.w.dim(1), args.w.dim(0), Tag::oi);
}
Problem problem_of(const LinearDgradArgs& args) {
  return problem("linear_dgrad", args.dy.rows(), args.w.dim(0), args.w.dim(1), Tag::io);
}
Problem problem_of(const LinearWgradArgs& args) {
  return problem("linear_wgrad", args.x.rows(), args.dw.dim(1), args.dw.dim(0), Tag::oi);
}

auto describe_forward(const Problem& p, bool bias, bool add, dnnl::prop_kind kind) {
  dnnl::primitive_attr attr;
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attr.set_post_ops(sum);
  }
  return describe<dnnl::inner_product_forward>(attr, kind, p.source(), p.any_weight(), p.bias(bias),
                                               p.target());
}

const Compiled* compiled_forward(const Problem& p, bool bias, bool add) {
  return compiled(
      fmt::format("{}{}{}", p.name, bias ? " bias" : "", add ? " add" : ""),
      [&]() -> std::optional<Compiled> {
        auto described = describe_forward(p, bias, add, dnnl::prop_kind::forward_inference);
        if (!skip_reference(described)) return {};
        return Compiled{dnnl::inner_product_forward(described), described.weights_desc()};
      });
}

bool some(const Tensor& t) { return plain(t) && t.rank() >= 1 && t.numel() > 0; }

// fwd

const Compiled* compiled_for(const LinearFwdArgs& args) {
  return compiled_forward(problem_of(args), args.bias.defined(), args.residual.defined());
}

bool fwd_supports(const LinearFwdArgs& args) {
  return some(args.x) && plain(args.w) && plain(args.y) && !args.silu_input && !args.norm &&
         (!args.residual || plain(args.residual)) && compiled_for(args);
}

void fwd_run(const LinearFwdArgs& args, void*, Stream) {
  const Problem p = problem_of(args);
  const Compiled& product = *compiled_for(args);
  const Tensor w =
      packed(args.w, p.name, p.plain_weight(), product.weights, [&] { return args.w; });
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, memory(p.source(), args.x)},
                                                  {DNNL_ARG_WEIGHTS, memory(product.weights, w)},
                                                  {DNNL_ARG_DST, memory(p.target(), args.y)}};
  if (args.bias) arguments[DNNL_ARG_BIAS] = memory(p.bias(true), args.bias);
  if (args.residual) reorder(p.target(), args.residual, p.target(), args.y);
  execute(product, arguments);
}

// dgrad

const Compiled* compiled_for(const LinearDgradArgs& args) {
  return compiled_forward(problem_of(args), false, false);
}

bool dgrad_supports(const LinearDgradArgs& args) {
  return some(args.dy) && plain(args.w) && plain(args.dx) && compiled_for(args);
}

void dgrad_run(const LinearDgradArgs& args, void*, Stream) {
  const Problem p = problem_of(args);
  const Compiled& product = *compiled_for(args);
  const Tensor w =
      packed(args.w, p.name, p.plain_weight(), product.weights, [&] { return args.w; });
  execute(product, {{DNNL_ARG_SRC, memory(p.source(), args.dy)},
                    {DNNL_ARG_WEIGHTS, memory(product.weights, w)},
                    {DNNL_ARG_DST, memory(p.target(), args.dx)}});
}

// wgrad

const Compiled* compiled_for(const LinearWgradArgs& args) {
  const Problem p = problem_of(args);
  const bool bias = args.dbias.defined();
  return compiled(p.name + (bias ? " bias" : ""), [&]() -> std::optional<Compiled> {
    const auto forward = describe_forward(p, bias, false, dnnl::prop_kind::forward_training);
    auto described = describe_backward<dnnl::inner_product_backward_weights>(
        forward, p.source(), p.any_weight(), p.bias(bias), p.target());
    if (!skip_reference(described)) return {};
    return Compiled{dnnl::inner_product_backward_weights(described), described.diff_weights_desc()};
  });
}

bool wgrad_supports(const LinearWgradArgs& args) {
  return some(args.x) && plain(args.dy) && plain(args.dw) && !args.silu_input && compiled_for(args);
}

// The gradient in oneDNN's layout, before it is brought into ours.
std::size_t wgrad_workspace(const LinearWgradArgs& args) {
  return compiled_for(args)->weights.get_size();
}

void wgrad_run(const LinearWgradArgs& args, void* workspace, Stream) {
  const Problem p = problem_of(args);
  const Compiled& product = *compiled_for(args);
  dnnl::memory theirs(product.weights, engine(), workspace);
  std::unordered_map<int, dnnl::memory> arguments{{DNNL_ARG_SRC, memory(p.source(), args.x)},
                                                  {DNNL_ARG_DIFF_DST, memory(p.target(), args.dy)},
                                                  {DNNL_ARG_DIFF_WEIGHTS, theirs}};
  if (args.dbias) arguments[DNNL_ARG_DIFF_BIAS] = memory(p.bias(true), args.dbias);
  execute(product, arguments);
  const Threads guard;
  dnnl::memory ours = memory(p.plain_weight(), args.dw);
  dnnl::reorder(theirs, ours).execute(stream(), theirs, ours);
  stream().wait();
}

}  // namespace

std::span<const Row<LinearFwdArgs>> linear_fwd_peers() {
  static const Row<LinearFwdArgs> rows[] = {
      {"onednn", DeviceType::cpu, Math::f32, RowKind::peer, fwd_supports, nullptr, fwd_run}};
  return rows;
}

std::span<const Row<LinearDgradArgs>> linear_dgrad_peers() {
  static const Row<LinearDgradArgs> rows[] = {
      {"onednn", DeviceType::cpu, Math::f32, RowKind::peer, dgrad_supports, nullptr, dgrad_run}};
  return rows;
}

std::span<const Row<LinearWgradArgs>> linear_wgrad_peers() {
  static const Row<LinearWgradArgs> rows[] = {{"onednn", DeviceType::cpu, Math::f32, RowKind::peer,
                                               wgrad_supports, wgrad_workspace, wgrad_run}};
  return rows;
}

}  // namespace tiller
