#pragma once
// The kernels of unpack.h for any vector length: square blocks are transposed in registers. The
// unnamed namespace keeps each instruction set's copy within its own file.
#include <utility>

#include "kernels/gemm/unpack.h"

namespace tiller {
namespace {

template <int kLanes>
struct Block {
  typedef float Value __attribute__((vector_size(kLanes * 4)));
  typedef std::uint32_t Bits __attribute__((vector_size(kLanes * 4)));
  typedef std::uint16_t Half __attribute__((vector_size(kLanes * 2)));
  typedef float AnyValue __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
  typedef std::uint16_t AnyHalf __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
};

// Elements from `at` on, widened.
template <int kLanes, RawFormat kFormat>
inline __attribute__((always_inline)) typename Block<kLanes>::Value load(const void* values,
                                                                         std::int64_t at) {
  using B = Block<kLanes>;
  if constexpr (kFormat == RawFormat::f32) {
    return *reinterpret_cast<const typename B::AnyValue*>(static_cast<const float*>(values) + at);
  } else {
    const auto* from = static_cast<const std::uint16_t*>(values) + at;
    const typename B::Half half = *reinterpret_cast<const typename B::AnyHalf*>(from);
    const auto bits = __builtin_convertvector(half, typename B::Bits);
    if constexpr (kFormat == RawFormat::bf16) {
      return reinterpret_cast<typename B::Value>(bits << 16);
    } else {
      // Sixteen's exponent is rebased by a product, which is exact for its subnormals, too;
      // infinity and NaN keep the largest exponent.
      const auto scaled = reinterpret_cast<typename B::Value>((bits & 0x7FFFu) << 13) * 0x1p112f;
      const auto special = reinterpret_cast<typename B::Bits>((bits & 0x7C00u) == 0x7C00u);
      return reinterpret_cast<typename B::Value>(reinterpret_cast<typename B::Bits>(scaled) |
                                                 (special & 0x7F800000u) |
                                                 ((bits & 0x8000u) << 16));
    }
  }
}

// As load(), of fewer elements, with zeros behind them.
template <int kLanes, RawFormat kFormat>
typename Block<kLanes>::Value load_some(const void* values, std::int64_t at, std::int64_t count) {
  if constexpr (kFormat == RawFormat::f32) {
    float some[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) some[i] = static_cast<const float*>(values)[at + i];
    return load<kLanes, kFormat>(some, 0);
  } else {
    std::uint16_t some[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i)
      some[i] = static_cast<const std::uint16_t*>(values)[at + i];
    return load<kLanes, kFormat>(some, 0);
  }
}

// Exchanges the blocks of kDistance beside the diagonal of the rows a and b.
template <int kLanes, int kDistance, class V, int... J>
inline __attribute__((always_inline)) void exchange(V& a, V& b, std::integer_sequence<int, J...>) {
  const V lower = __builtin_shufflevector(a, b, ((J & kDistance) ? kLanes + J - kDistance : J)...);
  b = __builtin_shufflevector(a, b, ((J & kDistance) ? kLanes + J : J + kDistance)...);
  a = lower;
}

// The transpose of kLanes x kLanes in log2(kLanes) rounds.
template <int kLanes, int kDistance, class V>
inline __attribute__((always_inline)) void transpose(V (&rows)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i)
    if ((i & kDistance) == 0)
      exchange<kLanes, kDistance>(rows[i], rows[i + kDistance],
                                  std::make_integer_sequence<int, kLanes>());
  if constexpr (2 * kDistance < kLanes) transpose<kLanes, 2 * kDistance>(rows);
}

// Blocks of outputs x consecutive elements of w are turned around. Where an element belongs is the
// same for all outputs.
template <int kLanes, int kVectors, RawFormat kFormat>
void unpack_plain(const RawWeight& w, std::int64_t first, std::int64_t begin, std::int64_t end,
                  float* to) {
  constexpr std::int64_t kColumns = kVectors * kLanes, kAhead = 512;
  const std::int64_t length = end - begin, row = w.c * w.taps;
  const std::int64_t runs = w.taps_last ? 1 : w.taps;
  const std::int64_t run_length = w.taps_last ? length * w.taps : length;
  const std::int64_t step_tap = length * kColumns;
  for (std::int64_t run = 0; run < runs; ++run) {
    const std::int64_t start = w.taps_last ? begin * w.taps : run * w.c + begin;
    std::int64_t tap = run, c = 0;
    for (std::int64_t p = 0; p < run_length; p += kLanes) {
      const std::int64_t count = run_length - p < kLanes ? run_length - p : kLanes;
      float* place[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        place[i] = to + tap * step_tap + c * kColumns;
        if (w.taps_last && ++tap == w.taps) tap = 0;
        if (!w.taps_last || tap == 0) ++c;
      }
      for (int v = 0; v < kVectors; ++v) {
        typename Block<kLanes>::Value block[kLanes];
        const std::int64_t k = first + v * kLanes, at = k * row + start + p;
        if (count == kLanes && k + kLanes <= w.k) {
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; ++i) {
            block[i] = load<kLanes, kFormat>(w.values, at + i * row);
            // So many rows at once are more than the processor fetches ahead by itself.
            constexpr std::int64_t kSize = kFormat == RawFormat::f32 ? 4 : 2;
            __builtin_prefetch(static_cast<const char*>(w.values) + (at + i * row) * kSize +
                               kAhead);
          }
        } else {
          for (int i = 0; i < kLanes; ++i)
            block[i] = load_some<kLanes, kFormat>(w.values, at + i * row, k + i < w.k ? count : 0);
        }
        transpose<kLanes, 1>(block);
        for (int i = 0; i < count; ++i)
          *reinterpret_cast<typename Block<kLanes>::AnyValue*>(place[i] + v * kLanes) = block[i];
      }
    }
  }
}

inline constexpr int kNine = 9;

// Lanes of `more`, which is vector kVector of nine, that belong to every ninth element from kTap on.
template <int kLanes, int kTap, int kVector, class V, int... J>
inline __attribute__((always_inline)) V every_ninth(const V& found, const V& more,
                                                    std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(
      found, more,
      ((J * kNine + kTap) / kLanes == kVector ? kLanes + (J * kNine + kTap) % kLanes : J)...);
}

template <int kLanes, int kTap, class V, int... I>
inline __attribute__((always_inline)) V gather_tap(const V (&from)[kNine],
                                                   std::integer_sequence<int, I...>) {
  V found = from[0];
  ((found =
        every_ninth<kLanes, kTap, I>(found, from[I], std::make_integer_sequence<int, kLanes>())),
   ...);
  return found;
}

template <int kLanes, class V, int... T>
inline __attribute__((always_inline)) void split_nine(const V (&from)[kNine], float* to,
                                                      std::int64_t step,
                                                      std::integer_sequence<int, T...>) {
  ((*reinterpret_cast<typename Block<kLanes>::AnyValue*>(to + T * step) =
        gather_tap<kLanes, T>(from, std::make_integer_sequence<int, kNine>())),
   ...);
}

// The outputs lie side by side in w already, unless the taps stand between them.
template <int kLanes, int kVectors, RawFormat kFormat>
void unpack_transposed(const RawWeight& w, std::int64_t first, std::int64_t begin, std::int64_t end,
                       float* to) {
  using B = Block<kLanes>;
  constexpr std::int64_t kColumns = kVectors * kLanes;
  const std::int64_t row = w.c * w.taps, step_tap = (end - begin) * kColumns;
  const std::int64_t step_c = w.taps_last ? w.taps : 1, step_source = w.taps_last ? 1 : w.c;
  for (std::int64_t k = begin; k < end; ++k)
    for (int v = 0; v < kVectors; ++v) {
      const std::int64_t c = first + v * kLanes, at = k * row + c * step_c;
      const std::int64_t left = w.c - c, count = left < 0 ? 0 : left < kLanes ? left : kLanes;
      float* const place = to + (k - begin) * kColumns + v * kLanes;
      if (step_c == 1) {
        for (std::int64_t tap = 0; tap < w.taps; ++tap)
          *reinterpret_cast<typename B::AnyValue*>(place + tap * step_tap) =
              count == kLanes ? load<kLanes, kFormat>(w.values, at + tap * step_source)
                              : load_some<kLanes, kFormat>(w.values, at + tap * step_source, count);
      } else if (w.taps == kNine && count == kLanes) {
        typename B::Value nine[kNine];
#pragma GCC unroll 9
        for (int i = 0; i < kNine; ++i) nine[i] = load<kLanes, kFormat>(w.values, at + i * kLanes);
        split_nine<kLanes>(nine, place, step_tap, std::make_integer_sequence<int, kNine>());
      } else {
        for (std::int64_t tap = 0; tap < w.taps; ++tap)
          for (int i = 0; i < kLanes; ++i)
            place[tap * step_tap + i] =
                i < count ? load_some<kLanes, kFormat>(w.values, at + i * step_c + tap, 1)[0] : 0;
      }
    }
}

template <int kLanes, int kVectors, bool kTransposed>
void unpack(const RawWeight& w, std::int64_t first, std::int64_t begin, std::int64_t end,
            float* to) {
  switch (w.format) {
    case RawFormat::f32:
      return kTransposed
                 ? unpack_transposed<kLanes, kVectors, RawFormat::f32>(w, first, begin, end, to)
                 : unpack_plain<kLanes, kVectors, RawFormat::f32>(w, first, begin, end, to);
    case RawFormat::f16:
      return kTransposed
                 ? unpack_transposed<kLanes, kVectors, RawFormat::f16>(w, first, begin, end, to)
                 : unpack_plain<kLanes, kVectors, RawFormat::f16>(w, first, begin, end, to);
    case RawFormat::bf16:
      return kTransposed
                 ? unpack_transposed<kLanes, kVectors, RawFormat::bf16>(w, first, begin, end, to)
                 : unpack_plain<kLanes, kVectors, RawFormat::bf16>(w, first, begin, end, to);
  }
}

template <int kLanes>
constexpr UnpackKernels kUnpack{unpack<kLanes, 2, false>, unpack<kLanes, 1, false>,
                                unpack<kLanes, 2, true>, unpack<kLanes, 1, true>};

}  // namespace
}  // namespace tiller
