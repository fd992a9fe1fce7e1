#pragma once
// The kernels of microkernel.h for any vector length, in the compiler's vector extension. The
// unnamed namespace keeps each instruction set's copy within its own file.
#include "kernels/gemm/microkernel.h"
#include "kernels/gemm/unpack_body.h"

namespace tiller {
namespace {

template <int kLanes>
struct Vector {
  typedef float Value __attribute__((vector_size(kLanes * 4)));
  typedef float Unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
};

// kRows x kVectors accumulators, kVectors columns of b and one broadcast fill the register file.
template <int kRows, int kVectors, int kLanes>
void tile_kernel(const GemmRun* runs, std::int64_t count, std::int64_t panel,
                 const float* const* rows, float* c, bool accumulate) {
  using Value = typename Vector<kLanes>::Value;
  using Unaligned = typename Vector<kLanes>::Unaligned;
  Value sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sum[i][v] = accumulate ? *reinterpret_cast<const Unaligned*>(c + (i * kVectors + v) * kLanes)
                             : Value{};
  for (const GemmRun* run = runs; run != runs + count; ++run) {
    const float* const* segment = rows + run->segment * kMaxTileRows;
    if (!segment[0]) continue;
    const std::int64_t length = run->length;
    const float* a[kRows];
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) a[i] = segment[i] + run->begin;
    const float* b = run->b + panel * run->panel_stride;
    for (std::int64_t l = 0; l < length; ++l) {
      Value column[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        column[v] = *reinterpret_cast<const Unaligned*>(b + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Value x = a[i][l] - Value{};
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += x * column[v];
      }
      b += kVectors * kLanes;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      *reinterpret_cast<Unaligned*>(c + (i * kVectors + v) * kLanes) = sum[i][v];
}

template <int kRows, int kVectors, int kLanes>
void outer_kernel(std::int64_t length, const float* a, std::int64_t a_stride, const float* b,
                  std::int64_t b_stride, float* c) {
  using Value = typename Vector<kLanes>::Value;
  using Unaligned = typename Vector<kLanes>::Unaligned;
  Value sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[i][v] = Value{};
  for (std::int64_t l = 0; l < length; ++l) {
    Value column[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      column[v] = *reinterpret_cast<const Unaligned*>(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const Value x = a[i] - Value{};
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[i][v] += x * column[v];
    }
    a += a_stride;
    b += b_stride;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      *reinterpret_cast<Unaligned*>(c + (i * kVectors + v) * kLanes) = sum[i][v];
}

template <int kRows, int kVectors, int kLanes>
void strip_kernel(std::int64_t length, const float* a, const float* b, float* c, bool accumulate) {
  using Value = typename Vector<kLanes>::Value;
  using Unaligned = typename Vector<kLanes>::Unaligned;
  Value sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sum[i][v] = accumulate ? *reinterpret_cast<const Unaligned*>(c + (i * kVectors + v) * kLanes)
                             : Value{};
  for (std::int64_t strip = 0; strip < length; strip += kStripElements) {
    for (int l = 0; l < kStripElements; ++l) {
      Value column[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        column[v] = *reinterpret_cast<const Unaligned*>(b + v * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const Value x = a[i * kStripElements + l] - Value{};
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[i][v] += x * column[v];
      }
      b += kVectors * kLanes;
    }
    a += kRows * kStripElements;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      *reinterpret_cast<Unaligned*>(c + (i * kVectors + v) * kLanes) = sum[i][v];
}

template <int kRows, int kVectors, int kLanes>
constexpr void fill_table(Microkernels& table) {
  table.tile[kRows] = tile_kernel<kRows, kVectors, kLanes>;
  table.narrow[kRows] = tile_kernel<kRows, 1, kLanes>;
  table.outer[kRows] = outer_kernel<kRows, kVectors, kLanes>;
  table.outer_narrow[kRows] = outer_kernel<kRows, 1, kLanes>;
  table.strip[kRows] = strip_kernel<kRows, kVectors, kLanes>;
  if constexpr (kRows > 1) fill_table<kRows - 1, kVectors, kLanes>(table);
}

template <int kRows, int kVectors, int kLanes>
constexpr Microkernels make_table() {
  static_assert(kVectors == 2, "unpack_body.h fills panels of two vectors, narrow ones of one");
  Microkernels table{kRows, kVectors * kLanes, kLanes, {}, {}, {}, {}, {}, kUnpack<kLanes>};
  fill_table<kRows, kVectors, kLanes>(table);
  return table;
}

}  // namespace
}  // namespace tiller
