#pragma once
#include <cstdint>
#include <vector>

namespace tiller {

/// What this machine can do at best, measured: the two roofs of a roofline.
struct Ceilings {
  double flops_per_second = 0;  ///< multiply-adds (two flops each) in f32, all threads
  double bytes_per_second = 0;  ///< a copy larger than the caches, read and write counted
};

/// Measures the CPU's ceilings on threads() threads: the best of several short runs, a fifth of a
/// second in all. The multiply-adds are timed by each thread's own processor time; the bandwidth is
/// shared, so a machine that others use at the same time reads lower.
Ceilings measure_ceilings();

namespace ceilings_detail {
/// Runs `rounds` rounds of multiply-adds in 12 independent registers, more than the 8 to 10 that
/// two units of four to five cycles' latency need; returns the flops done. The sum goes to `sink`,
/// so that no compiler drops the work.
double multiply_add_avx2(std::int64_t rounds, float* sink);
double multiply_add_avx512(std::int64_t rounds, float* sink);
}  // namespace ceilings_detail

}  // namespace tiller
