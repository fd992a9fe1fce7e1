// Fully connected layer.
#include "kernels/linear/linear.h"
#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

namespace {

Tensor silu_gradient(const Tensor& x, const Tensor& d) {
  const SiluBwdArgs args{x, d, Tensor::empty_like(d)};
  check(args);
  run(silu_bwd, args);
  return args.dx;
}

// What no fast row fuses is done by plain calls: SiLU before, the residual after.
void run_forward(const LinearFwdArgs& args) {
  const auto fast = [](const LinearFwdArgs& a) { return is_fast(linear_fwd, a); };
  LinearFwdArgs plain = args;
  plain.x = shape_only(args.x.shape(), args.x.dtype(), args.device());
  plain.silu_input = false;
  plain.residual = {};
  if (args.dtype() == DType::f64 || fast(args) || !fast(plain)) return run(linear_fwd, args);
  LinearFwdArgs rest = args;
  rest.silu_input = false;
  if (args.silu_input) rest.x = plain.x;
  const bool add_after = args.residual && !fast(rest);
  if (add_after) rest.residual = {};
  rest.x = args.silu_input ? compute::unary(UnaryKind::silu, args.x)
           : fast(rest)    ? args.x
                           : compute::dense(args.x);
  run(linear_fwd, rest);
  if (!add_after) return;
  const BinaryArgs add{.a = args.y, .b = args.residual, .y = args.y};
  check(add);
  run(binary, add);
}

void run_wgrad(const LinearWgradArgs& args) {
  const auto fast = [](const LinearWgradArgs& a) { return is_fast(linear_wgrad, a); };
  LinearWgradArgs plain = args;
  plain.x = shape_only(args.x.shape(), args.x.dtype(), args.device());
  plain.silu_input = false;
  if (args.dtype() == DType::f64 || fast(args) || !fast(plain)) return run(linear_wgrad, args);
  plain.x = args.silu_input ? compute::unary(UnaryKind::silu, args.x) : compute::dense(args.x);
  run(linear_wgrad, plain);
}

}  // namespace

Var linear(const Var& x, const Var& w, const Var& bias, const Var& residual, bool silu_input) {
  TILLER_CHECK(x.defined() && x.value().rank() >= 1 && w.defined() && w.value().rank() == 2,
               "linear: x {} is not [...,C] or w {} is not [K,C]", to_string(x.value()),
               to_string(w.value()));
  LinearFwdArgs args{.x = x.value(),
                     .w = w.value(),
                     .bias = bias.value(),
                     .residual = residual.value(),
                     .y = {},
                     .silu_input = silu_input,
                     .norm = {}};
  args.y = Tensor::empty(x.shape().with(-1, w.dim(0)), x.dtype(), x.device());
  check(args);
  run_forward(args);

  const std::vector<Var> inputs{x, w, bias, residual};
  const Needs needed = needs_of(inputs);
  const bool keep_x = needed[1] || (needed[0] && silu_input);
  const Shape w_shape = w.shape();
  return record("linear", inputs, args.y,
                saved(if_needed(keep_x, args.x), if_needed(needed[0], args.w)),
                [=](const Saved& s, const Tensor& incoming, Needs needs) {
                  const Tensor dy = compute::dense(incoming);
                  const DType wide = accumulate_dtype(dy.dtype());
                  Grads grads(4);
                  if (needs[0]) {
                    const Tensor dx = compute::linear_dgrad(dy, s[1]);
                    grads[0] = silu_input ? silu_gradient(s[0], dx) : dx;
                  }
                  if (needs[1]) {
                    LinearWgradArgs d{s[0], dy, {}, {}, silu_input};
                    d.dw = Tensor::empty(w_shape, wide, dy.device());
                    if (needs[2]) d.dbias = Tensor::empty({w_shape[0]}, wide, dy.device());
                    check(d);
                    run_wgrad(d);
                    grads[1] = d.dw;
                    grads[2] = d.dbias;
                  } else if (needs[2]) {
                    grads[2] = compute::sum(dy, ReduceOver::leading, wide);
                  }
                  if (needs[3]) grads[3] = dy;
                  return grads;
                });
}

}  // namespace tiller
