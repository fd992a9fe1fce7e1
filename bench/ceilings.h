#pragma once
// What the machine can do at most, measured: the two lines of the roofline.

namespace tiller::bench {

struct Ceilings {
  double clock_ghz;        ///< of one core, from a chain of dependent additions
  double flops_per_cycle;  ///< of one core: the width that the peak below shows, a power of two
  double peak_gflops;      ///< multiply-adds of all threads at once, 16 independent chains each
  double peak_share;  ///< peak_gflops / (threads * clock * width): 0.95 or more, or the machine was
                      ///< disturbed
  double copy_gbytes;  ///< read plus written bytes of a large copy by all threads, per second
};

/// Takes a second. Uses threads() threads.
const Ceilings& ceilings();

/// Multiply-add rate of the calling thread in GFLOP/s, best of several short bursts.
double fma_gflops_avx2();
double fma_gflops_avx512();  ///< ask Avx512::available() first

}  // namespace tiller::bench
