#include "kernels/gemm/floats.h"

#include <cmath>

#include "runtime/parallel.h"

namespace tiller {

namespace {

// A fixed trip count lets the compiler use the vector conversions that scalar code hides.
constexpr std::int64_t kStep = 8;

const std::byte* row_bytes(const Tensor& t, std::int64_t row) {
  return static_cast<const std::byte*>(t.raw()) +
         static_cast<std::size_t>(row * t.row_stride()) * size_of(t.dtype());
}

// A tile walks along up to 14 rows at once. Rows a multiple of 4096 bytes apart share one set of an
// L1 cache of 64 sets and push each other out of its 8 or 12 ways: a quarter of the speed is lost.
bool meets_in_one_set(std::int64_t stride) { return stride % 1024 == 0; }

std::int64_t copied_stride(const Tensor& t) {
  return meets_in_one_set(t.cols()) ? t.cols() + 16 : t.cols();
}

}  // namespace

void to_floats(const void* from, DType dtype, std::int64_t count, float* to) {
  std::int64_t i = 0;
  if (dtype == DType::f16) {
    const auto* h = static_cast<const f16*>(from);
#if defined(__F16C__)
    for (; i + kStep <= count; i += kStep)
      _mm256_storeu_ps(to + i,
                       _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(h + i))));
#endif
    for (; i < count; ++i) to[i] = h[i];
  } else if (dtype == DType::bf16) {
    const auto* b = static_cast<const bf16*>(from);
    for (; i < count; ++i) to[i] = b[i];
  } else {
    const auto* f = static_cast<const float*>(from);
    for (; i < count; ++i) to[i] = f[i];
  }
}

void from_floats(const float* from, std::int64_t count, DType dtype, void* to) {
  std::int64_t i = 0;
  if (dtype == DType::f16) {
    auto* h = static_cast<f16*>(to);
#if defined(__F16C__)
    for (; i + kStep <= count; i += kStep)
      _mm_storeu_si128(reinterpret_cast<__m128i*>(h + i),
                       _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
#endif
    for (; i < count; ++i) h[i] = f16(from[i]);
  } else if (dtype == DType::bf16) {
    auto* b = static_cast<bf16*>(to);
    for (; i < count; ++i) b[i] = bf16(from[i]);
  } else {
    auto* f = static_cast<float*>(to);
    for (; i < count; ++i) f[i] = from[i];
  }
}

FloatRows float_rows(const Tensor& t, Arena& arena) {
  if (!t) return {};
  if (t.dtype() == DType::f32 && !meets_in_one_set(t.row_stride()))
    return {static_cast<const float*>(t.raw()), t.row_stride()};
  const std::int64_t stride = copied_stride(t);
  float* copy = arena.take<float>(t.rows() * stride);
  if (!arena.measuring())
    launch("to_floats", t.rows(), [&](std::int64_t row) {
      to_floats(row_bytes(t, row), t.dtype(), t.cols(), copy + row * stride);
    });
  return {copy, stride};
}

FloatRows silu_rows(const Tensor& t, Arena& arena) {
  const std::int64_t stride = copied_stride(t);
  float* copy = arena.take<float>(t.rows() * stride);
  if (!arena.measuring())
    launch("silu_rows", t.rows(), [&](std::int64_t row) {
      float* to = copy + row * stride;
      to_floats(row_bytes(t, row), t.dtype(), t.cols(), to);
      for (std::int64_t c = 0; c < t.cols(); ++c) to[c] = to[c] / (1 + std::exp(-to[c]));
    });
  return {copy, stride};
}

}  // namespace tiller
