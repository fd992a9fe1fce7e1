#pragma once
#include <cstdint>

#include "runtime/tensor.h"

namespace tiller {

/// Range and health of a tensor's values.
struct Statistics {
  std::int64_t count = 0, nan = 0, infinite = 0;
  double min = 0, max = 0, mean = 0, deviation = 0;  ///< of the finite values
};
Statistics statistics(const Tensor& host);

}  // namespace tiller
