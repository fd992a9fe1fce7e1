// Operations that work element by element, with their derivatives.
#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

namespace {

// f(x), whose backward needs x, y or neither: `keep` is what it saves.
template <class Derivative>
Var elementwise(const char* op, UnaryKind kind, const Var& x, bool keep_x, bool keep_y,
                Derivative derivative, double a = 1, double b = 0) {
  const Tensor y = compute::unary(kind, x.value(), a, b);
  return record(op, {x}, y, saved(if_needed(keep_x, x.value()), if_needed(keep_y, y)),
                [derivative](const Saved& s, const Tensor& dy, Needs) {
                  return Grads{derivative(s[0] ? s[0] : s[1], dy)};
                });
}

Tensor zeros_like(const Tensor& t) { return Tensor::zeros(t.shape(), t.dtype(), t.device()); }

}  // namespace

Var silu(const Var& x) {
  return elementwise("silu", UnaryKind::silu, x, true, false,
                     [](const Tensor& kept, const Tensor& dy) {
                       const SiluBwdArgs args{kept, dy, Tensor::empty_like(kept)};
                       check(args);
                       run(silu_bwd, args);
                       return args.dx;
                     });
}

Var cast(const Var& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const DType from = x.dtype();
  return record(
      "cast", {x}, compute::cast(x.value(), dtype), saved(),
      [from](const Saved&, const Tensor& dy, Needs) { return Grads{compute::cast(dy, from)}; });
}

Var affine(const Var& x, double a, double b) {
  return record("affine", {x}, compute::unary(UnaryKind::affine, x.value(), a, b), saved(),
                [a](const Saved&, const Tensor& dy, Needs) {
                  return Grads{a == 1 ? dy : compute::unary(UnaryKind::affine, dy, a, 0)};
                });
}

Var clamp(const Var& x, double low, double high) {
  TILLER_CHECK(low <= high, "clamp: [{}, {}] is empty, x {}", low, high, to_string(x.value()));
  return elementwise(
      "clamp", UnaryKind::clamp, x, true, false,
      [low, high](const Tensor& kept, const Tensor& dy) {
        // |x - clamp(x)| is 0 within the bounds, which count as inside, like PyTorch's.
        const Tensor inside = compute::unary(UnaryKind::clamp, kept, low, high);
        const Tensor outside =
            compute::unary(UnaryKind::abs, compute::binary(BinaryKind::add, kept, inside, 1, -1));
        const WhereArgs args{outside, zeros_like(dy), dy, Tensor::empty_like(dy)};
        check(args);
        run(where_fwd, args);
        return args.y;
      },
      low, high);
}

Var exp(const Var& x) {
  return elementwise("exp", UnaryKind::exp, x, false, true, [](const Tensor& y, const Tensor& dy) {
    return compute::binary(BinaryKind::mul, dy, y);
  });
}

Var log(const Var& x) {
  return elementwise("log", UnaryKind::log, x, true, false,
                     [](const Tensor& kept, const Tensor& dy) {
                       return compute::binary(BinaryKind::div, dy, kept);
                     });
}

Var sqrt(const Var& x) {
  return elementwise("sqrt", UnaryKind::sqrt, x, false, true,
                     [](const Tensor& y, const Tensor& dy) {
                       return compute::binary(BinaryKind::div, dy, y, 1, 2);
                     });
}

Var square(const Var& x) {
  return elementwise("square", UnaryKind::square, x, true, false,
                     [](const Tensor& kept, const Tensor& dy) {
                       return compute::binary(BinaryKind::mul, dy, kept, 1, 2);
                     });
}

Var abs(const Var& x) {
  return elementwise(
      "abs", UnaryKind::abs, x, true, false, [](const Tensor& kept, const Tensor& dy) {
        return compute::binary(BinaryKind::mul, dy, compute::unary(UnaryKind::sign, kept));
      });
}

Var tanh(const Var& x) {
  return elementwise("tanh", UnaryKind::tanh, x, false, true,
                     [](const Tensor& y, const Tensor& dy) {
                       const DType wide = accumulate_dtype(y.dtype());
                       const Tensor square = compute::unary_as(wide, UnaryKind::square, y);
                       const Tensor slope = compute::unary(UnaryKind::affine, square, -1, 1);
                       return compute::binary(BinaryKind::mul, dy, slope);
                     });
}

Var add(const Var& a, const Var& b, double alpha, double beta, Broadcast broadcast) {
  const DType b_dtype = b.dtype();
  return record("add", {a, b},
                compute::binary(BinaryKind::add, a.value(), b.value(), alpha, beta, broadcast),
                saved(), [=](const Saved&, const Tensor& dy, Needs needs) {
                  Grads grads(2);
                  if (needs[0])
                    grads[0] = alpha == 1 ? dy : compute::unary(UnaryKind::affine, dy, alpha, 0);
                  if (needs[1]) grads[1] = compute::sum_for(broadcast, dy, b_dtype, beta);
                  return grads;
                });
}

Var sub(const Var& a, const Var& b, Broadcast broadcast) { return add(a, b, 1, -1, broadcast); }

Var mul(const Var& a, const Var& b, Broadcast broadcast) {
  const Needs needed = needs_of({a, b});
  const DType b_dtype = b.dtype();
  return record("mul", {a, b},
                compute::binary(BinaryKind::mul, a.value(), b.value(), 1, 1, broadcast),
                saved(if_needed(needed[1], a.value()), if_needed(needed[0], b.value())),
                [=](const Saved& s, const Tensor& dy, Needs needs) {
                  Grads grads(2);
                  if (needs[0])
                    grads[0] = compute::binary(BinaryKind::mul, dy, s[1], 1, 1, broadcast);
                  if (needs[1]) {
                    const DType product =
                        broadcast == Broadcast::none ? b_dtype : accumulate_dtype(dy.dtype());
                    grads[1] = compute::sum_for(
                        broadcast, compute::binary_as(product, BinaryKind::mul, dy, s[0]), b_dtype);
                  }
                  return grads;
                });
}

/// d(a/b)/db = -a/b^2 = -y/b.
Var div(const Var& a, const Var& b, Broadcast broadcast) {
  const Needs needed = needs_of({a, b});
  const DType b_dtype = b.dtype();
  const Tensor y = compute::binary(BinaryKind::div, a.value(), b.value(), 1, 1, broadcast);
  return record("div", {a, b}, y, saved(b.value(), if_needed(needed[1], y)),
                [=](const Saved& s, const Tensor& dy, Needs needs) {
                  Grads grads(2);
                  const DType wide = accumulate_dtype(dy.dtype());
                  const Tensor quotient =  // dy / b, of a's shape
                      compute::binary_as(needs[1] ? wide : dy.dtype(), BinaryKind::div, dy, s[0], 1,
                                         1, broadcast);
                  if (needs[0]) grads[0] = compute::cast(quotient, dy.dtype());
                  if (needs[1])
                    grads[1] = compute::sum_for(
                        broadcast, compute::binary(BinaryKind::mul, quotient, s[1]), b_dtype, -1);
                  return grads;
                });
}

namespace {
// The larger of the two gets the gradient; equal ones share it, as in PyTorch.
Var extremum(const char* op, BinaryKind kind, const Var& a, const Var& b) {
  const double sign = kind == BinaryKind::maximum ? 1 : -1;
  const DType b_dtype = b.dtype();
  return record(op, {a, b}, compute::binary(kind, a.value(), b.value()),
                saved(a.value(), b.value()), [=](const Saved& s, const Tensor& dy, Needs needs) {
                  Grads grads(2);
                  const DType wide = accumulate_dtype(dy.dtype());
                  const Tensor order = compute::unary(  // -1, 0, 1
                      UnaryKind::sign,
                      compute::binary_as(wide, BinaryKind::add, s[0], s[1], sign, -sign));
                  const auto share = [&](double half, DType dtype) {
                    return compute::binary_as(dtype, BinaryKind::mul, dy,
                                              compute::unary(UnaryKind::affine, order, half, 0.5));
                  };
                  if (needs[0]) grads[0] = share(0.5, dy.dtype());
                  if (needs[1]) grads[1] = share(-0.5, b_dtype);
                  return grads;
                });
}
}  // namespace

Var maximum(const Var& a, const Var& b) { return extremum("maximum", BinaryKind::maximum, a, b); }
Var minimum(const Var& a, const Var& b) { return extremum("minimum", BinaryKind::minimum, a, b); }

Var where(const Tensor& mask, const Var& a, const Var& b) {
  const WhereArgs args{mask, a.value(), b.value(), Tensor::empty_like(a.value())};
  check(args);
  run(where_fwd, args);
  const DType b_dtype = b.dtype();
  return record("where", {a, b}, args.y, saved(mask),
                [b_dtype](const Saved& s, const Tensor& dy, Needs needs) {
                  Grads grads(2);
                  const Tensor zeros = zeros_like(dy);
                  const auto pick = [&](const Tensor& where_set, const Tensor& elsewhere,
                                        DType dtype) {
                    const WhereArgs part{s[0], where_set, elsewhere,
                                         Tensor::empty(dy.shape(), dtype, dy.device())};
                    check(part);
                    run(where_fwd, part);
                    return part.y;
                  };
                  if (needs[0]) grads[0] = pick(dy, zeros, dy.dtype());
                  if (needs[1]) grads[1] = pick(zeros, dy, b_dtype);
                  return grads;
                });
}

Tensor fill(const Shape& shape, DType dtype, Device device, double value) {
  TILLER_CHECK(is_floating(dtype) || value == 0, "fill: {} cannot be filled with {}", name(dtype),
               value);
  const Tensor y = Tensor::zeros(shape, dtype, device);
  if (value == 0) return y;
  const UnaryArgs args{UnaryKind::affine, y, y, 1, value};
  check(args);
  run(tiller::unary, args);
  return y;
}

}  // namespace tiller
