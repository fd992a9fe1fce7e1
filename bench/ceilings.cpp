#include "bench/ceilings.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "bench/fma_peak_body.h"
#include "kernels/gemm/isa.h"
#include "runtime/parallel.h"

namespace tiller::bench {

namespace {

// An addition takes one cycle on every x86-64 processor, and each of these waits for the one
// before.
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

// Larger than the caches; the best of several runs, by the clock on the wall since memory is
// shared.
double copy_gbytes() {
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  const std::vector<char> from(kBytes, 1);
  std::vector<char> to(kBytes, 2);
  constexpr std::int64_t kPieces = 64;
  double best = 0;
  for (int i = 0; i < 8; ++i) {
    const std::int64_t begin = now_ns();
    launch("copy", kPieces, [&](std::int64_t piece) {
      constexpr std::size_t kPiece = kBytes / kPieces;
      const std::size_t at = static_cast<std::size_t>(piece) * kPiece;
      std::memcpy(to.data() + at, from.data() + at, kPiece);
    });
    best = std::max(best, 2.0 * kBytes / static_cast<double>(now_ns() - begin));
  }
  return best;
}

Ceilings measure() {
  Ceilings c{};
  std::vector<double> clocks(static_cast<std::size_t>(threads())), peaks(clocks.size());
  launch("fma_peak", threads(), [&](std::int64_t i) {
    clocks[static_cast<std::size_t>(i)] = clock_ghz();
    peaks[static_cast<std::size_t>(i)] =
        Avx512::available() ? std::max(fma_gflops_avx2(), fma_gflops_avx512()) : fma_gflops_avx2();
  });
  for (std::size_t i = 0; i < peaks.size(); ++i) {
    c.peak_gflops += peaks[i];
    c.clock_ghz += clocks[i] / static_cast<double>(clocks.size());
  }
  const double per_cycle = c.peak_gflops / threads() / c.clock_ghz;
  c.flops_per_cycle = std::exp2(std::round(std::log2(per_cycle)));
  c.peak_share = per_cycle / c.flops_per_cycle;
  c.copy_gbytes = copy_gbytes();
  return c;
}

}  // namespace

const Ceilings& ceilings() {
  static const Ceilings measured = measure();
  return measured;
}

}  // namespace tiller::bench
