#pragma once
#include "kernels/reduce/reduce.h"

namespace tiller {

/// A tensor seen as [outer, summed, inner]: every reduction takes the middle away.
struct ReduceView {
  std::int64_t outer = 1, summed = 1, inner = 1;
};

inline ReduceView reduce_view(ReduceOver over, const Shape& x) {
  const std::int64_t n = x.numel();
  const std::int64_t first = x.rank() > 0 ? x[0] : 1, last = x.rank() > 0 ? x[-1] : 1;
  std::int64_t between = 1;  // the dimensions between the first and the last
  for (int i = 1; i + 1 < x.rank(); ++i) between *= x[i];
  switch (over) {
    case ReduceOver::all:
      return {1, n, 1};
    case ReduceOver::features:
      return {first, x.rank() > 1 ? between * last : 1, 1};
    case ReduceOver::leading:
      return {1, x.rank() > 1 ? first * between : 1, last};
    case ReduceOver::spatial:
      return {first, between, last};
    case ReduceOver::last:
      return {x.rank() > 1 ? first * between : 1, last, 1};
  }
  return {};
}

}  // namespace tiller
