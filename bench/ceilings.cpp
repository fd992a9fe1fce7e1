#include "bench/ceilings.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/parallel.h"
#include "tools/profile/ceilings.h"

namespace tiller::bench {

namespace {

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// An addition takes one cycle on every x86-64 processor, and each of these waits for the one before.
double clock_ghz() {
  constexpr int kSteps = 100'000, kPerStep = 8, kBursts = 40;
  double best = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    const double begin = thread_seconds();
    for (long step = 0, x = 0; step < kSteps; ++step)
      asm volatile(
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n"
          : "+r"(x));
    best = std::max(best, 1e-9 * kSteps * kPerStep / (thread_seconds() - begin));
  }
  return best;
}

MachineCeilings measure() {
  const Ceilings measured = measure_ceilings();
  MachineCeilings c{1e-9 * measured.flops_per_second, 1e-9 * measured.bytes_per_second, 0, 0, 0};
  std::vector<double> clocks(static_cast<std::size_t>(threads()));
  launch("clock", threads(),
         [&](std::int64_t i) { clocks[static_cast<std::size_t>(i)] = clock_ghz(); });
  for (const double clock : clocks) c.clock_ghz += clock / static_cast<double>(clocks.size());
  const double per_cycle = c.peak_gflops / threads() / c.clock_ghz;
  c.flops_per_cycle = std::exp2(std::round(std::log2(per_cycle)));
  c.peak_share = per_cycle / c.flops_per_cycle;
  return c;
}

}  // namespace

const MachineCeilings& machine_ceilings() {
  static const MachineCeilings measured = measure();
  return measured;
}

}  // namespace tiller::bench
