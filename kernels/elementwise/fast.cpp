#include "kernels/elementwise/fast.h"

#include <cmath>
#include <cstring>

#include "kernels/blocks.h"
#include "kernels/simd.h"

namespace tiller {

namespace {

using V = f32x8;

// y[i] = f(x[i]), eight at a time.
template <class F>
[[gnu::always_inline]] inline void map(const float* x, std::int64_t n, float* y, const F& f) {
  for (Step<V> s(n); s; s.next()) s.store(f(s.load(x)), y);
}
template <class F>
[[gnu::always_inline]] inline void map(const float* a, const float* b, std::int64_t n, float* y,
                                       const F& f) {
  for (Step<V> s(n); s; s.next()) s.store(f(s.load(a), s.load(b)), y);
}
// y[i] = f(x[i]) by the mathematical library.
template <class F>
void map_scalar(const float* x, std::int64_t n, float* y, const F& f) {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

V select(__m256 where, V yes, V no) { return _mm256_blendv_ps(no.v, yes.v, where); }
__m256 is_nan(V x) { return _mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q); }
__m256 above(V x, V y) { return _mm256_cmp_ps(x.v, y.v, _CMP_GT_OQ); }

void unary_block(const UnaryArgs& args, const float* x, std::int64_t n, float* y) {
  const V a(static_cast<float>(args.a)), b(static_cast<float>(args.b)), one(1.0f), zero(0.0f);
  switch (args.kind) {
    case UnaryKind::copy:
      return map(x, n, y, [](V v) { return v; });
    case UnaryKind::affine:
      return map(x, n, y, [=](V v) { return fma(a, v, b); });
    case UnaryKind::clamp:  // min and max give their second operand when it is NaN
      return map(x, n, y, [=](V v) { return min(b, max(a, v)); });
    case UnaryKind::silu:
      return map(x, n, y, [](V v) { return silu(v); });
    case UnaryKind::exp:
      return map(x, n, y, [](V v) { return exp(v); });
    case UnaryKind::sqrt:
      return map(x, n, y, [](V v) { return sqrt(v); });
    case UnaryKind::rsqrt:
      return map(x, n, y, [=](V v) { return one / sqrt(v); });
    case UnaryKind::square:
      return map(x, n, y, [](V v) { return v * v; });
    case UnaryKind::abs:
      return map(x, n, y, [](V v) { return abs(v); });
    case UnaryKind::sign:
      return map(x, n, y, [=](V v) {
        return select(above(v, zero), one, select(above(zero, v), V(-1.0f), zero));
      });
    case UnaryKind::reciprocal:
      return map(x, n, y, [=](V v) { return one / v; });
    case UnaryKind::log:
      return map_scalar(x, n, y, [](float v) { return std::log(v); });
    case UnaryKind::tanh:
      return map_scalar(x, n, y, [](float v) { return std::tanh(v); });
    case UnaryKind::sin:
      return map_scalar(x, n, y, [](float v) { return std::sin(v); });
    case UnaryKind::cos:
      return map_scalar(x, n, y, [](float v) { return std::cos(v); });
  }
}

// Copies between equal dtypes move bytes, row by row where either side is a slice.
void copy_bytes(const Tensor& x, const Tensor& y) {
  const bool dense = x.dense() && y.dense();
  const std::int64_t cols = dense ? x.numel() : x.cols();
  const std::size_t size = size_of(x.dtype());
  const auto* from = static_cast<const std::byte*>(x.raw());
  auto* to = static_cast<std::byte*>(y.raw());
  if (dense) {
    launch("copy", (cols + kTaskElements - 1) / kTaskElements, [&](std::int64_t task) {
      const std::int64_t begin = task * kTaskElements;
      const auto bytes = static_cast<std::size_t>(std::min(kTaskElements, cols - begin)) * size;
      const std::size_t offset = static_cast<std::size_t>(begin) * size;
      std::memmove(to + offset, from + offset, bytes);
    });
    return;
  }
  const std::int64_t rows_each = std::max<std::int64_t>(1, kTaskElements / cols);
  launch("copy_rows", (x.rows() + rows_each - 1) / rows_each, [&](std::int64_t task) {
    const std::int64_t end = std::min(x.rows(), (task + 1) * rows_each);
    for (std::int64_t r = task * rows_each; r < end; ++r)
      std::memmove(to + static_cast<std::size_t>(r * y.row_stride()) * size,
                   from + static_cast<std::size_t>(r * x.row_stride()) * size,
                   static_cast<std::size_t>(cols) * size);
  });
}

void binary_block(const BinaryArgs& args, const float* a, const float* b, std::int64_t n,
                  float* y) {
  const V alpha(static_cast<float>(args.alpha)), beta(static_cast<float>(args.beta));
  switch (args.kind) {
    case BinaryKind::add:
      return map(a, b, n, y, [=](V p, V q) { return fma(alpha, p, beta * q); });
    case BinaryKind::mul:
      return map(a, b, n, y, [=](V p, V q) { return (alpha * p) * (beta * q); });
    case BinaryKind::div:
      return map(a, b, n, y, [=](V p, V q) { return (alpha * p) / (beta * q); });
    case BinaryKind::maximum:  // the second operand wins when it is NaN; see to the first
      return map(a, b, n, y,
                 [=](V p, V q) { return select(is_nan(p), p, max(alpha * p, beta * q)); });
    case BinaryKind::minimum:
      return map(a, b, n, y,
                 [=](V p, V q) { return select(is_nan(p), p, min(alpha * p, beta * q)); });
  }
}

ReduceOver reduction(Broadcast broadcast) {  // whose transpose the broadcast is
  switch (broadcast) {
    case Broadcast::per_channel:
      return ReduceOver::leading;
    case Broadcast::per_sample_channel:
      return ReduceOver::spatial;
    default:
      return ReduceOver::features;
  }
}

}  // namespace

bool unary_fast_supports(const UnaryArgs& args) { return no_f64(args.x, args.y); }
bool silu_bwd_fast_supports(const SiluBwdArgs& args) { return no_f64(args.x, args.dy, args.dx); }
bool binary_fast_supports(const BinaryArgs& args) { return no_f64(args.a, args.b, args.y); }
bool where_fast_supports(const WhereArgs& args) {
  return no_f64(args.mask, args.a, args.b, args.y);
}

void unary_fast(const UnaryArgs& args, void*, Stream) {
  if (args.x.numel() == 0) return;
  if (args.kind == UnaryKind::copy && args.x.dtype() == args.y.dtype())
    return copy_bytes(args.x, args.y);
  launch_blocks(name(args.kind), args.x.numel(), [&](std::int64_t e, std::int64_t n) {
    BlockBuffer in, out;
    float* y = block_target(args.y, e, out.data);
    unary_block(args, read_block(args.x, e, n, in.data), n, y);
    write_block(args.y, e, n, y);
  });
}

void silu_bwd_fast(const SiluBwdArgs& args, void*, Stream) {
  launch_blocks("silu_bwd", args.x.numel(), [&](std::int64_t e, std::int64_t n) {
    BlockBuffer first, second, out;
    const float* x = read_block(args.x, e, n, first.data);
    const float* dy = read_block(args.dy, e, n, second.data);
    float* dx = block_target(args.dx, e, out.data);
    map(x, dy, n, dx, [](V v, V d) { return d * silu_slope(v); });
    write_block(args.dx, e, n, dx);
  });
}

void binary_fast(const BinaryArgs& args, void*, Stream) {
  const ReduceView view = reduce_view(reduction(args.broadcast), args.a.shape());
  launch_blocks(name(args.kind), args.a.numel(), [&](std::int64_t e, std::int64_t n) {
    BlockBuffer first, second, out;
    const float* a = read_block(args.a, e, n, first.data);
    const float* b = args.broadcast == Broadcast::none
                         ? read_block(args.b, e, n, second.data)
                         : read_broadcast(args.b, view, e, n, second.data);
    float* y = block_target(args.y, e, out.data);
    binary_block(args, a, b, n, y);
    write_block(args.y, e, n, y);
  });
}

void where_fast(const WhereArgs& args, void*, Stream) {
  const bool per_element = args.mask.shape() == args.a.shape();
  const ReduceView view = reduce_view(ReduceOver::features, args.a.shape());
  launch_blocks("where", args.a.numel(), [&](std::int64_t e, std::int64_t n) {
    BlockBuffer first, second, third, out;
    const float* a = read_block(args.a, e, n, first.data);
    const float* b = read_block(args.b, e, n, second.data);
    const float* mask = per_element ? read_block(args.mask, e, n, third.data)
                                    : read_broadcast(args.mask, view, e, n, third.data);
    float* y = block_target(args.y, e, out.data);
    for (Step<V> s(n); s; s.next())
      s.store(select(above(s.load(mask), V(0.0f)), s.load(a), s.load(b)), y);
    write_block(args.y, e, n, y);
  });
}

}  // namespace tiller
