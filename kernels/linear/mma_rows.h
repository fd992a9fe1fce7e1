#pragma once
// The fully connected layer's three products on tensor cores, and what any device row can count.
#include "kernels/gemm/mma_rows.h"
#include "kernels/linear/rows.h"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr std::int64_t kMostRows = std::int64_t{1}
                                          << 31;   // rows and columns are counted in ints
inline constexpr std::int64_t kMostTiles = 65535;  // of the grid's second dimension

inline bool fits(std::int64_t m, std::int64_t n) { return m < kMostRows && n / 64 < kMostTiles; }

inline bool fwd_supports(const LinearFwdArgs& args) {
  return !args.norm && not_f64(args.y) && fits(args.y.rows(), args.y.cols());
}
inline bool dgrad_supports(const LinearDgradArgs& args) {
  return not_f64(args.dx) && fits(args.dx.rows(), args.dx.cols());
}
inline bool wgrad_supports(const LinearWgradArgs& args) {
  return not_f64(args.dy) && fits(args.dy.rows(), args.dw.cols() + 1);
}

bool mma_serves(const LinearFwdArgs& args);
bool mma_serves(const LinearDgradArgs& args);
bool mma_serves(const LinearWgradArgs& args);

/// Over a measuring arena these only take their workspace.
void mma_run(const LinearFwdArgs& args, const MmaChoice& choice, Arena& arena, Stream stream);
void mma_run(const LinearDgradArgs& args, const MmaChoice& choice, Arena& arena, Stream stream);
void mma_run(const LinearWgradArgs& args, Arena& arena, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
