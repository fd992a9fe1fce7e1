#pragma once
// The reductions by name, for the host and for kernels.
#include <cstdint>

namespace tiller {

/// sum f(x) or mean f(x) with f the identity, the square, or the absolute value; or the maximum.
enum class ReduceKind : std::uint8_t { sum, mean, sum_squares, mean_squares, sum_abs, max };

}  // namespace tiller
