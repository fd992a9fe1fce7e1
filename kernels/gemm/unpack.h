#pragma once
// Weights that are not packed beforehand: the task that multiplies by a panel first brings a stretch
// of it into its own cache, in the order of kernels/gemm/pack.h. Nothing is kept, so a network costs
// the memory of its weights once, as the file has them, and half-precision weights cost half of it. An
// element is moved once for every row of the product that it meets: with 64 rows or more that is a
// few hundredths of the arithmetic.
//
// This header is compiled once per instruction set, so it includes nothing that could be shared.
#include <cstdint>

namespace tiller {

enum class RawFormat : std::uint8_t { f32, f16, bf16 };

/// The values of a weight [K,taps,C] as they lie in memory.
struct RawWeight {
  const void* values = nullptr;
  RawFormat format = RawFormat::f32;
  std::int64_t k = 0, taps = 1, c = 0;
  bool taps_last = false;  ///< [K][C][taps], as PyTorch has them, instead of [K][taps][C]
};

/// Writes [taps][end - begin][columns] f32 of one panel to `to`: outputs [first, first + columns),
/// elements [begin, end) of the reduction. Zeros beyond the last output.
using UnpackKernel = void (*)(const RawWeight& w, std::int64_t first, std::int64_t begin,
                              std::int64_t end, float* to);

/// By columns of a panel. Plain: the outputs are K, the reduction C. Transposed: the other way round.
struct UnpackKernels {
  UnpackKernel plain, plain_narrow, transposed, transposed_narrow;
  UnpackKernel of(bool is_transposed, bool narrow) const {
    if (is_transposed) return narrow ? transposed_narrow : transposed;
    return narrow ? plain_narrow : plain;
  }
};

}  // namespace tiller
