#pragma once
// Rows on a GPU (and on simt, where only the answers count).
#include "bench/case.h"
#include "bench/options.h"

namespace tiller::bench {

/// What a device can do at most, measured on first use: multiply-adds of each kind without memory,
/// and a copy far larger than the caches.
struct DeviceCeilings {
  double fma_f32 = 0, mma_f16 = 0, mma_bf16 = 0, mma_tf32 = 0;  ///< flops per second
  double copy = 0;  ///< read plus written bytes a second
};
const DeviceCeilings& device_ceilings(Device device);

/// As CSV: what, value, unit.
void print_device_ceilings(Device device);

/// Checks and measures every supporting row of the calls, or holds it against its twin on simt, and
/// prints CSV. Returns the exit code.
int run_on_device(const std::vector<Case*>& cases, const Options& options);

}  // namespace tiller::bench
