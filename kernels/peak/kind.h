#pragma once
// What the peak kernels know of themselves, for the host and for the device.
#include <cstdint>

namespace tiller {

/// The arithmetic: fused multiply-adds of a thread in f32, or mma.sync of a warp on f16, bf16 and
/// tf32 operands with f32 sums.
enum class PeakKind : std::uint8_t { fma_f32, mma_f16, mma_bf16, mma_tf32 };

inline constexpr int kPeakThreads = 256;  ///< of a block
inline constexpr int kPeakChains = 8;     ///< independent sums: of a thread, or tiles of a warp

}  // namespace tiller
