// Elementwise operations, v2_vectors.
//
// math      v1_flat's
// shapes    any; operands may be channel slices and of different dtypes
// mapping   thread t of the launch takes eight elements from 8 t on, then 8 (t + T), ...: one
//           16-byte access for halves, two for f32. The function is chosen once for the eight. The
//           last elements of a dense tensor that make no eight go one by one
// traffic   every operand once, the result once: numel * (sum of element sizes) bytes
// roofline  memory
// delta     v1_flat moves 2-byte elements one by one and takes a branch on dtype and function for
//           each; SiLU here is made of the hardware's 2^x and 1/x
// limits    f32, f16, bf16 (copies: any); all aligned to 16 bytes, slices of 8 m channels; an operand
//           that is broadcast over channels has 8 m of them
#include "kernels/elementwise/functions.cuh"
#include "kernels/elementwise/kernels.h"
#include "kernels/vectors.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

namespace {

// The same function for all eight: a branch for each, not for each element.
__device__ __forceinline__ void apply(UnaryKind kind, Eight& x, float a, float b) {
  switch (kind) {
    case UnaryKind::silu:
      return each(x, [](float v) { return v * sigmoid_approx(v); });
    case UnaryKind::copy:
      return each(x, [=](float v) { return apply(UnaryKind::copy, v, a, b); });
    case UnaryKind::affine:
      return each(x, [=](float v) { return apply(UnaryKind::affine, v, a, b); });
    case UnaryKind::clamp:
      return each(x, [=](float v) { return apply(UnaryKind::clamp, v, a, b); });
    case UnaryKind::exp:
      return each(x, [=](float v) { return apply(UnaryKind::exp, v, a, b); });
    case UnaryKind::log:
      return each(x, [=](float v) { return apply(UnaryKind::log, v, a, b); });
    case UnaryKind::sqrt:
      return each(x, [=](float v) { return apply(UnaryKind::sqrt, v, a, b); });
    case UnaryKind::rsqrt:
      return each(x, [=](float v) { return apply(UnaryKind::rsqrt, v, a, b); });
    case UnaryKind::square:
      return each(x, [=](float v) { return apply(UnaryKind::square, v, a, b); });
    case UnaryKind::abs:
      return each(x, [=](float v) { return apply(UnaryKind::abs, v, a, b); });
    case UnaryKind::sign:
      return each(x, [=](float v) { return apply(UnaryKind::sign, v, a, b); });
    case UnaryKind::tanh:
      return each(x, [=](float v) { return apply(UnaryKind::tanh, v, a, b); });
    case UnaryKind::sin:
      return each(x, [=](float v) { return apply(UnaryKind::sin, v, a, b); });
    case UnaryKind::cos:
      return each(x, [=](float v) { return apply(UnaryKind::cos, v, a, b); });
    case UnaryKind::reciprocal:
      return each(x, [=](float v) { return apply(UnaryKind::reciprocal, v, a, b); });
  }
}

__device__ __forceinline__ void apply(BinaryKind kind, Eight& x, const Eight& y) {
  switch (kind) {
    case BinaryKind::add:
      return each(x, y, [](float a, float b) { return apply(BinaryKind::add, a, b); });
    case BinaryKind::mul:
      return each(x, y, [](float a, float b) { return apply(BinaryKind::mul, a, b); });
    case BinaryKind::div:
      return each(x, y, [](float a, float b) { return apply(BinaryKind::div, a, b); });
    case BinaryKind::maximum:
      return each(x, y, [](float a, float b) { return apply(BinaryKind::maximum, a, b); });
    case BinaryKind::minimum:
      return each(x, y, [](float a, float b) { return apply(BinaryKind::minimum, a, b); });
  }
}

// vector(i) for the eights from i on, element(i) for the elements behind the last one.
template <class Vector, class Element>
__device__ __forceinline__ void walk(std::int64_t count, const Vector& vector,
                                     const Element& element) {
  for (std::int64_t i = first_element() * 8; i < count; i += next_element() * 8) {
    if (i + 8 <= count)
      vector(i);
    else
      for (std::int64_t j = i; j < count; ++j) element(j);
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    unary_vec_kernel(const UnaryParams __grid_constant__ p) {
  walk(
      numel(p.x),
      [&](std::int64_t i) {
        Eight x = load8(p.x, i);
        apply(p.kind, x, p.a, p.b);
        store8(p.y, i, x);
      },
      [&](std::int64_t i) { store(p.y, i, apply(p.kind, load(p.x, i), p.a, p.b)); });
}

// The same bytes in another place, 16 at a time.
__global__ void __launch_bounds__(kThreads, 2)
    copy_vec_kernel(const UnaryParams __grid_constant__ p) {
  const std::int64_t count = numel(p.x);
  for (std::int64_t i = first_element(); i < count; i += next_element())
    store_vec(static_cast<std::uint32_t*>(p.y.data) + 4 * offset_of(p.y, i),
              load_vec<4>(static_cast<const std::uint32_t*>(p.x.data) + 4 * offset_of(p.x, i)));
}

__device__ __forceinline__ float silu_gradient(float x, float dy) {
  const float sigmoid = sigmoid_approx(x);
  return dy * (sigmoid * fmaf(x, 1.0f - sigmoid, 1.0f));
}

__global__ void __launch_bounds__(kThreads, 2)
    silu_bwd_vec_kernel(const SiluBwdParams __grid_constant__ p) {
  walk(
      numel(p.x),
      [&](std::int64_t i) {
        Eight x = load8(p.x, i);
        each(x, load8(p.dy, i), [](float v, float dy) { return silu_gradient(v, dy); });
        store8(p.dx, i, x);
      },
      [&](std::int64_t i) { store(p.dx, i, silu_gradient(load(p.x, i), load(p.dy, i))); });
}

__global__ void __launch_bounds__(kThreads, 2)
    binary_vec_kernel(const BinaryParams __grid_constant__ p) {
  walk(
      numel(p.a),
      [&](std::int64_t i) {
        Eight a = load8(p.a, i), b = {};
        if (p.broadcast == Broadcast::per_sample) {
          const float one = load(p.b, i / p.per_sample);
          each(b, [=](float) { return one; });
        } else {
          std::int64_t j = i;
          if (p.broadcast == Broadcast::per_channel) j = i % p.a.cols;
          if (p.broadcast == Broadcast::per_sample_channel)
            j = i / p.per_sample * p.a.cols + i % p.a.cols;
          b = load8(p.b, j);
        }
        each(a, [&](float v) { return p.alpha * v; });
        each(b, [&](float v) { return p.beta * v; });
        apply(p.kind, a, b);
        store8(p.y, i, a);
      },
      [&](std::int64_t i) {  // only where nothing is broadcast
        store(p.y, i, apply(p.kind, p.alpha * load(p.a, i), p.beta * load(p.b, i)));
      });
}

__global__ void __launch_bounds__(kThreads, 2)
    where_vec_kernel(const WhereParams __grid_constant__ p) {
  walk(
      numel(p.a),
      [&](std::int64_t i) {
        Eight a = load8(p.a, i);
        const Eight b = load8(p.b, i);
#pragma unroll
        for (int e = 0; e < 8; ++e)
          if (!(load(p.mask, p.per_mask == 1 ? i + e : i / p.per_mask) > 0.0f)) a.v[e] = b.v[e];
        store8(p.y, i, a);
      },
      [&](std::int64_t i) {
        store(p.y, i, load(p.mask, i / p.per_mask) > 0.0f ? load(p.a, i) : load(p.b, i));
      });
}

}  // namespace

void unary_v2(const UnaryParams& p, Stream stream) {
  const std::int64_t count = p.x.rows * p.x.cols;
  if (p.kind != UnaryKind::copy || p.x.dtype != p.y.dtype)
    return launch({"unary_vec", blocks_for(count, 8), kThreads}, stream, unary_vec_kernel, p);
  UnaryParams words = p;  // columns and strides count 16 bytes
  const std::int64_t size = bytes_of(p.x.dtype);
  for (View* v : {&words.x, &words.y}) {
    if (p.x.row_stride == p.x.cols && p.y.row_stride == p.y.cols) {
      v->cols = v->row_stride = v->rows * v->cols;
      v->rows = 1;
    }
    v->cols = v->cols * size / 16;
    v->row_stride = v->row_stride * size / 16;
  }
  launch({"copy_vec", blocks_for(words.x.rows * words.x.cols), kThreads}, stream, copy_vec_kernel,
         words);
}

void silu_bwd_v2(const SiluBwdParams& p, Stream stream) {
  launch({"silu_bwd_vec", blocks_for(p.x.rows * p.x.cols, 8), kThreads}, stream,
         silu_bwd_vec_kernel, p);
}

void binary_v2(const BinaryParams& p, Stream stream) {
  launch({"binary_vec", blocks_for(p.a.rows * p.a.cols, 8), kThreads}, stream, binary_vec_kernel,
         p);
}

void where_v2(const WhereParams& p, Stream stream) {
  launch({"where_vec", blocks_for(p.a.rows * p.a.cols, 8), kThreads}, stream, where_vec_kernel, p);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
