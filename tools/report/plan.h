#pragma once
// What running a network costs, planned on meta: no weights, no bytes, milliseconds.
#include <cstdint>
#include <vector>

#include "autograd/tape.h"
#include "tools/network.h"

namespace tiller {

/// Sums of one pass.
struct PassPlan {
  Cost cost;
  std::vector<Cost> calls;  ///< what `cost` is the sum of: one entry an operation's call
  std::int64_t operations = 0;
  std::size_t peak_bytes = 0;    ///< activations and workspace of the runtime, without parameters
  std::size_t packed_bytes = 0;  ///< forms of the weights that the chosen rows keep beside them
};

/// The forward pass at batch N and pictures of height x width (0: the network's own size).
PassPlan plan_forward(const Network& planned, std::int64_t batch, std::int64_t height = 0,
                      std::int64_t width = 0);
/// A classifier's forward and input gradient.
PassPlan plan_gradient(const Network& planned, std::int64_t batch);

/// One microbatch of training: forward, and the gradients of all parameters, which stay.
PassPlan plan_training(const Network& planned, std::int64_t batch);

/// Inputs on meta for a planned network.
struct PlannedInputs {
  Tensor x, t, y, low_res;
};
PlannedInputs planned_inputs(const Network& planned, std::int64_t batch, std::int64_t height = 0,
                             std::int64_t width = 0);

/// The network's output on the current tape: logits, or the UNet's output.
Var planned_output(const Network& planned, const PlannedInputs& in, const Var& x);

}  // namespace tiller
