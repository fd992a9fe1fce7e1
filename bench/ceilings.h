#pragma once
// What the machine can do at most: tools/profile/ceilings.h measures it, this holds the multiply-add
// peak against clock x width, which tells whether the measurement is to be believed.

namespace tiller::bench {

struct MachineCeilings {
  double peak_gflops;      ///< multiply-adds of all threads
  double copy_gbytes;      ///< read plus written bytes of a large copy by all threads, per second
  double clock_ghz;        ///< of a core, from a chain of dependent additions
  double flops_per_cycle;  ///< of a core: the power of two next to what the peak shows
  double peak_share;  ///< peak / (threads * clock * width): below 0.95 the machine was disturbed
};

/// Measured on first use, in less than a second, on threads() threads.
const MachineCeilings& machine_ceilings();

}  // namespace tiller::bench
