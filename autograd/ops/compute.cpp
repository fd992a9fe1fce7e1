#include "autograd/ops/compute.h"

namespace tiller {

Tensor shape_only(const Shape& shape, DType dtype, Device device) {
  static const auto nobody = std::make_shared<int>();
  const std::size_t bytes = static_cast<std::size_t>(shape.numel()) * size_of(dtype);
  return Tensor::view(Storage::borrow(nullptr, bytes, device, nobody), shape, dtype);
}

void check_indices(const char* what, const Tensor& index, std::int64_t bound) {
  const DeviceType type = index.device().type;
  if (type != DeviceType::cpu && type != DeviceType::simt) return;
  const auto* values = index.data<const std::int64_t>();
  for (std::int64_t i = 0; i < index.numel(); ++i)
    TILLER_CHECK(values[i] >= 0 && values[i] < bound, "{} {} at row {} is not in [0, {})", what,
                 values[i], i, bound);
}

namespace compute {

Tensor unary_as(DType dtype, UnaryKind kind, const Tensor& x, double a, double b) {
  const UnaryArgs args{kind, x, Tensor::empty(x.shape(), dtype, x.device()), a, b};
  check(args);
  run(tiller::unary, args);
  return args.y;
}

Tensor unary(UnaryKind kind, const Tensor& x, double a, double b) {
  return unary_as(x.dtype(), kind, x, a, b);
}

Tensor binary_as(DType dtype, BinaryKind kind, const Tensor& a, const Tensor& b, double alpha,
                 double beta, Broadcast broadcast) {
  const Tensor y = Tensor::empty(a.shape(), dtype, a.device());
  const BinaryArgs args{kind, broadcast, a, b, y, alpha, beta};
  check(args);
  run(tiller::binary, args);
  return y;
}

Tensor binary(BinaryKind kind, const Tensor& a, const Tensor& b, double alpha, double beta,
              Broadcast broadcast) {
  return binary_as(a.dtype(), kind, a, b, alpha, beta, broadcast);
}

Tensor cast(const Tensor& x, DType dtype) {
  return x.dtype() == dtype ? x : unary_as(dtype, UnaryKind::copy, x);
}

Tensor dense(const Tensor& x) { return x.dense() ? x : unary(UnaryKind::copy, x); }

void copy(const Tensor& x, const Tensor& to) {
  const UnaryArgs args{UnaryKind::copy, x, to, 1, 0};
  check(args);
  run(tiller::unary, args);
}

Tensor concat(const Tensor& a, const Tensor& b) {
  const std::int64_t c0 = a.cols(), c1 = b.cols();
  const Tensor y = Tensor::empty(a.shape().with(-1, c0 + c1), a.dtype(), a.device());
  copy(a, y.channels(0, c0));
  copy(b, y.channels(c0, c0 + c1));
  return y;
}

Tensor linear_dgrad(const Tensor& dy, const Tensor& w) {
  const Tensor dx = Tensor::empty(dy.shape().with(-1, w.dim(1)), dy.dtype(), dy.device());
  const LinearDgradArgs args{dy, w, dx};
  check(args);
  run(tiller::linear_dgrad, args);
  return dx;
}

Tensor reduced(ReduceKind kind, ReduceOver over, const Tensor& x, DType dtype) {
  Shape shape;
  switch (over) {
    case ReduceOver::all:
      break;
    case ReduceOver::features:
      shape = {x.dim(0)};
      break;
    case ReduceOver::leading:
      shape = {x.cols()};
      break;
    case ReduceOver::spatial:
      shape = {x.dim(0), x.cols()};
      break;
    case ReduceOver::last:
      shape = Shape(x.shape().dims().first(static_cast<std::size_t>(x.rank() - 1)));
  }
  // Sums are f32 or wider, or of x's dtype; anything else is a second step.
  const DType wide = accumulate_dtype(x.dtype());
  const Tensor y = Tensor::empty(shape, dtype == x.dtype() ? dtype : wide, x.device());
  const ReduceArgs args{kind, over, x, y};
  check(args);
  run(reduce, args);
  return cast(y, dtype);
}

Tensor sum(const Tensor& x, ReduceOver over, DType dtype) {
  return reduced(ReduceKind::sum, over, x, dtype);
}

Tensor sum_for(Broadcast broadcast, const Tensor& x, DType dtype, double scale) {
  Tensor y;
  switch (broadcast) {
    case Broadcast::none:
      y = x;
      break;
    case Broadcast::per_sample:
      y = sum(x, ReduceOver::features, dtype);
      break;
    case Broadcast::per_channel:
      y = sum(x, ReduceOver::leading, dtype);
      break;
    case Broadcast::per_sample_channel:
      y = sum(x, ReduceOver::spatial, dtype);
      break;
  }
  return scale == 1 ? cast(y, dtype) : unary_as(dtype, UnaryKind::affine, y, scale, 0);
}

Tensor resample(ResampleKind kind, const Tensor& x, std::int64_t p, std::int64_t q) {
  const ResampleFwdArgs args{kind, x,
                             Tensor::empty({x.dim(0), p, q, x.dim(3)}, x.dtype(), x.device())};
  check(args);
  run(resample_fwd, args);
  return args.y;
}

Tensor resample_transpose(ResampleKind kind, const Tensor& dy, std::int64_t h, std::int64_t w) {
  const ResampleBwdArgs args{kind, dy,
                             Tensor::empty({dy.dim(0), h, w, dy.dim(3)}, dy.dtype(), dy.device())};
  check(args);
  run(resample_bwd, args);
  return args.dx;
}

}  // namespace compute
}  // namespace tiller
