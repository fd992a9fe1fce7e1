// Operations that only move elements: concatenation, views, changes of resolution.
#include "autograd/ops.h"
#include "autograd/ops/compute.h"

namespace tiller {

Var concat(const Var& a, const Var& b) {
  const Tensor &x = a.value(), &y = b.value();
  TILLER_CHECK(x.defined() && y.defined() && x.rank() >= 1 && x.rank() == y.rank() &&
                   x.dtype() == y.dtype() && x.device() == y.device() &&
                   x.shape() == y.shape().with(-1, x.cols()),
               "concat: {} does not go behind {}", to_string(y), to_string(x));
  const std::int64_t c0 = x.cols(), c1 = y.cols();
  return record("concat", {a, b}, compute::concat(x, y), saved(),
                [c0, c1](const Saved&, const Tensor& dy, Needs needs) {
                  Grads grads(2);
                  if (needs[0]) grads[0] = compute::dense(dy.channels(0, c0));
                  if (needs[1]) grads[1] = compute::dense(dy.channels(c0, c0 + c1));
                  return grads;
                });
}

Var channels(const Var& x, std::int64_t begin, std::int64_t end) {
  const Shape shape = x.shape();
  return record("channels", {x}, x.value().channels(begin, end), saved(),
                [=](const Saved&, const Tensor& dy, Needs) {
                  const Tensor dx = Tensor::zeros(shape, dy.dtype(), dy.device());
                  compute::copy(dy, dx.channels(begin, end));
                  return Grads{dx};
                });
}

Var reshape(const Var& x, const Shape& shape) {
  const Tensor& in = x.value();
  const Shape from = in.shape();
  // A channel slice can only regroup its leading dimensions; for anything else it is copied.
  const bool view = in.dense() || (shape.rank() > 0 && shape[-1] == in.cols());
  const Tensor y = (view ? in : compute::dense(in)).reshape(shape);
  return record("reshape", {x}, y, saved(), [from](const Saved&, const Tensor& dy, Needs) {
    return Grads{compute::dense(dy).reshape(from)};
  });
}

namespace {
Var resampled(const char* op, ResampleKind kind, const Var& x, std::int64_t p, std::int64_t q) {
  const std::int64_t h = x.dim(1), w = x.dim(2);
  return record(op, {x}, compute::resample(kind, x.value(), p, q), saved(),
                [=](const Saved&, const Tensor& dy, Needs) {
                  return Grads{compute::resample_transpose(kind, dy, h, w)};
                });
}

void check_image(const char* op, const Var& x) {
  TILLER_CHECK(x.defined() && x.value().rank() == 4, "{}: x {} is not [N,H,W,C]", op,
               to_string(x.value()));
}
}  // namespace

Var upsample2x(const Var& x) {
  check_image("upsample2x", x);
  return resampled("upsample2x", ResampleKind::nearest_up2x, x, 2 * x.dim(1), 2 * x.dim(2));
}

Var mean_pool2x2(const Var& x) {
  check_image("mean_pool2x2", x);
  return resampled("mean_pool2x2", ResampleKind::mean_pool2x2, x, x.dim(1) / 2, x.dim(2) / 2);
}

Var resize_bilinear(const Var& x, std::int64_t height, std::int64_t width) {
  check_image("resize_bilinear", x);
  return resampled("resize_bilinear", ResampleKind::bilinear, x, height, width);
}

Var resize_area(const Var& x, std::int64_t height, std::int64_t width) {
  check_image("resize_area", x);
  return resampled("resize_area", ResampleKind::area, x, height, width);
}

}  // namespace tiller
