#pragma once
#include <cstdint>

#include "runtime/tensor.h"

namespace tiller {

/// Range and health of a tensor's values.
struct Statistics {
  std::int64_t count = 0, nan = 0, infinite = 0;
  double min = 0, max = 0, mean = 0, deviation = 0;  ///< of the finite values

  std::int64_t finite() const { return count - nan - infinite; }
  /// Joins the statistics of other values (Chan, Golub & LeVeque 1983), so that an array larger than
  /// memory can be walked in blocks.
  Statistics& operator+=(const Statistics& other);
};

/// Of a host tensor of any dtype; the same whatever the number of threads.
Statistics statistics(const Tensor& host);

}  // namespace tiller
