#pragma once
// The least time that a network's calls can take on a machine of known rates: no measurement, only
// counted flops and bytes.
#include <vector>

#include "bench/case.h"

namespace tiller::bench {

/// What a machine does at most: flops and bytes (read plus written) per second.
struct Rates {
  double flops = 0, bytes = 0;
};

/// Prints CSV, an operation a line and their sum: calls, flops, bytes, the time of the flops alone
/// and of the bytes alone, and the floor: the sum over calls of whichever of the two is longer
/// (Williams et al. 2009). A floor, since calls are taken to wait for each other and caches to hold
/// nothing between them.
void print_floors(const std::vector<Case*>& cases, const Rates& rates);

}  // namespace tiller::bench
