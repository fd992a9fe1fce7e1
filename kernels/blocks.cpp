#include "kernels/blocks.h"

#include <type_traits>

#include "kernels/reference.h"
#include "kernels/simd.h"

namespace tiller {

namespace {

template <class From, class To>
void convert(const From* from, std::int64_t n, To* to) {
  if constexpr (std::is_integral_v<From>) {
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(from[i]);
  } else if (n < f32x8::kWidth) {  // a row of three channels
    for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(static_cast<float>(from[i]));
  } else {
    for (Step<f32x8> s(n); s; s.next()) s.store(s.load(from), to);
  }
}

// Calls f(element, run, position) for the runs of contiguous elements that make up [e, e + n).
template <class F>
void for_each_run(const Tensor& t, std::int64_t e, std::int64_t n, const F& f) {
  if (t.dense()) return f(e, n, std::int64_t{0});
  const std::int64_t cols = t.cols();
  std::int64_t row = e / cols, column = e % cols;
  for (std::int64_t at = 0; at < n; ++row, column = 0) {
    const std::int64_t run = std::min(n - at, cols - column);
    f(row * t.row_stride() + column, run, at);
    at += run;
  }
}

}  // namespace

const float* read_block(const Tensor& t, std::int64_t e, std::int64_t n, float* buffer) {
  if (t.dtype() == DType::f32 && t.dense()) return static_cast<const float*>(t.raw()) + e;
  const auto read = [&](auto zero) {
    const auto* from = static_cast<const decltype(zero)*>(t.raw());
    for_each_run(t, e, n, [&](std::int64_t at, std::int64_t run, std::int64_t position) {
      convert(from + at, run, buffer + position);
    });
    return buffer;
  };
  switch (t.dtype()) {
    case DType::f32:
      return read(float{});
    case DType::f16:
      return read(f16{});
    case DType::bf16:
      return read(bf16{});
    case DType::i64:
      return read(std::int64_t{});
    case DType::i32:
      return read(std::int32_t{});
    case DType::i16:
      return read(std::int16_t{});
    case DType::i8:
      return read(std::int8_t{});
    case DType::u8:
    case DType::boolean:
      return read(std::uint8_t{});
    case DType::f64:
      break;  // no fast row takes it
  }
  return buffer;
}

float* block_target(const Tensor& t, std::int64_t e, float* buffer) {
  return t.dtype() == DType::f32 && t.dense() ? static_cast<float*>(t.raw()) + e : buffer;
}

void write_block(const Tensor& t, std::int64_t e, std::int64_t n, const float* from) {
  if (t.dtype() == DType::f32 && t.dense()) return;  // computed in place
  const auto write = [&](auto zero) {
    auto* to = static_cast<decltype(zero)*>(t.raw());
    for_each_run(t, e, n, [&](std::int64_t at, std::int64_t run, std::int64_t position) {
      convert(from + position, run, to + at);
    });
  };
  if (t.dtype() == DType::f32) return write(float{});
  if (t.dtype() == DType::f16) return write(f16{});
  write(bf16{});
}

const float* read_broadcast(const Tensor& small, const ReduceView& view, std::int64_t e,
                            std::int64_t n, float* buffer) {
  const std::int64_t outer = view.summed * view.inner;  // elements that share o
  std::int64_t o = e / outer, within = e % outer, at = 0;
  while (at < n) {
    if (view.inner == 1) {
      const std::int64_t run = std::min(n - at, outer - within);
      std::fill_n(buffer + at, run, load<float>(small, o / small.cols(), o % small.cols()));
      at += run;
      within += run;
    } else {
      const std::int64_t i = within % view.inner;
      const std::int64_t run = std::min(n - at, view.inner - i);
      const float* from = read_block(small, o * view.inner + i, run, buffer + at);
      if (from != buffer + at) std::copy_n(from, run, buffer + at);
      at += run;
      within += run;
    }
    if (within == outer) {
      within = 0;
      ++o;
    }
  }
  return buffer;
}

}  // namespace tiller
