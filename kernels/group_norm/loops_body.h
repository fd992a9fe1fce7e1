#pragma once
// The loops of loops.h for any vector length. The unnamed namespace keeps each instruction set's
// copy within its own file.
#include "kernels/group_norm/loops.h"
#include "kernels/simd.h"

namespace tiller::group_norm_detail {
namespace {

template <class V, class T>
void add(Rows<const T> x, std::int64_t rows, std::int64_t channels, float* sum) {
  for (std::int64_t i = 0; i < rows; ++i, x.at += x.stride)
    for_each_vector<V>(channels, [&](auto s) { s.store(s.load(sum) + s.load(x.at), sum); });
}

template <class V, class T>
void add_squares(Rows<const T> x, std::int64_t rows, std::int64_t channels, const float* mean,
                 float* m2) {
  for (std::int64_t i = 0; i < rows; ++i, x.at += x.stride)
    for_each_vector<V>(channels, [&](auto s) {
      const V d = s.load(x.at) - s.load(mean);
      s.store(fma(d, d, s.load(m2)), m2);
    });
}

template <class V, bool kSilu, class T>
void apply(Rows<const T> x, std::int64_t rows, std::int64_t channels, Constants k, Rows<T> y) {
  const float *mean = k.at, *scale = mean + k.stride, *shift = scale + k.stride;
  for (std::int64_t i = 0; i < rows; ++i, x.at += x.stride, y.at += y.stride)
    for_each_vector<V>(channels, [&](auto s) {
      const V z = fma(s.load(x.at) - s.load(mean), s.load(scale), s.load(shift));
      s.store(kSilu ? silu(z) : z, y.at);
    });
}

template <class V, bool kSilu, class T>
void apply_and_pool(const T* const (&x)[4], std::int64_t channels, Constants k, T* y) {
  for_each_vector<V>(channels, [&](auto s) {
    const V mean = s.load(k.at), scale = s.load(k.at + k.stride),
            shift = s.load(k.at + 2 * k.stride);
    V total(0.0f);
    for (const T* row : x) {
      const V z = fma(s.load(row) - mean, scale, shift);
      total += kSilu ? silu(z) : z;
    }
    s.store(total * V(0.25f), y);
  });
}

template <class V, bool kSilu, class At, class T>
TILLER_INLINE V dz_of(const At& s, V xhat, const T* dy, Constants k, V dy_scale) {
  const V dz = s.load(dy) * dy_scale;
  if (!kSilu) return dz;
  return dz * silu_slope(fma(xhat, s.load(k.at + kK * k.stride), s.load(k.at + kB * k.stride)));
}

template <class V, class At, class T>
TILLER_INLINE V xhat_of(const At& s, const T* x, Constants k) {
  return (s.load(x) - s.load(k.at)) * s.load(k.at + kRstd * k.stride);
}

template <class V, bool kSilu, class T>
void sums(Rows<const T> x, Rows<const T> dy, std::int64_t rows, std::int64_t channels, Constants k,
          float dy_scale, float* s1, float* s2, Rows<T> dz) {
  const auto for_each_row = [&](auto keep) __attribute__((always_inline)) {
    for (std::int64_t i = 0; i < rows; ++i, x.at += x.stride, dy.at += dy.stride)
      for_each_vector<V>(channels, [&](auto s) {
        const V xhat = xhat_of<V>(s, x.at, k);
        const V d = dz_of<V, kSilu>(s, xhat, dy.at, k, V(dy_scale));
        s.store(s.load(s1) + d, s1);
        s.store(fma(d, xhat, s.load(s2)), s2);
        if (keep.value) s.store(d, dz.at + i * dz.stride);
      });
  };
  struct Keep {
    bool value;
  };
  if (dz.at)
    for_each_row(Keep{true});
  else
    for_each_row(Keep{false});
}

template <class V, bool kSilu, bool kAdd, class T>
void write_rows(Rows<const T> x, Rows<const T> dy, Rows<const T> add, std::int64_t rows,
                std::int64_t channels, Constants k, float dy_scale, Rows<T> dx) {
  for (std::int64_t i = 0; i < rows; ++i, x.at += x.stride, dy.at += dy.stride, dx.at += dx.stride)
    for_each_vector<V>(channels, [&](auto s) {
      const V xhat = xhat_of<V>(s, x.at, k);
      const V dz = dz_of<V, kSilu>(s, xhat, dy.at, k, V(dy_scale));
      const V rest = fma(xhat, s.load(k.at + kDxXhat * k.stride), s.load(k.at + kDx0 * k.stride));
      V result = fma(dz, s.load(k.at + kDxDz * k.stride), rest);
      if constexpr (kAdd)
        result += s.load(add.at + i * add.stride);  // the bits of a later addition
      s.store(result, dx.at);
    });
}

template <class V, bool kSilu, class T>
void write(Rows<const T> x, Rows<const T> dy, Rows<const T> add, std::int64_t rows,
           std::int64_t channels, Constants k, float dy_scale, Rows<T> dx) {
  if (add.at)
    write_rows<V, kSilu, true>(x, dy, add, rows, channels, k, dy_scale, dx);
  else
    write_rows<V, kSilu, false>(x, dy, add, rows, channels, k, dy_scale, dx);
}

template <class V, class T>
constexpr Loops<T> loops_of() {
  return {add<V, T>,
          add_squares<V, T>,
          {apply<V, false, T>, apply<V, true, T>},
          {apply_and_pool<V, false, T>, apply_and_pool<V, true, T>},
          {sums<V, false, T>, sums<V, true, T>},
          {write<V, false, T>, write<V, true, T>}};
}

template <class V>
constexpr AllLoops kLoops{loops_of<V, float>(), loops_of<V, f16>(), loops_of<V, bf16>()};

}  // namespace
}  // namespace tiller::group_norm_detail
