#pragma once
// What training does to its parameters between two passes. No gradient: they write in place.
#include <vector>

#include "kernels/optimizer/optimizer.h"

namespace tiller {

/// One AdamW update of all parameters in one launch: kernels/optimizer/optimizer.h.
void step_adamw(const AdamWArgs& args);

/// ema = rate * ema + (1 - rate) * p for all parameters in one launch.
void step_ema(const EmaArgs& args);

/// sqrt of the sum of all tensors' squares, and whether every element is finite.
struct GlobalNorm {
  double value;
  bool finite;
};
GlobalNorm norm_of(const std::vector<Tensor>& tensors, double scale = 1);

}  // namespace tiller
