#include "tools/profile/ceilings.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "kernels/gemm/isa.h"
#include "runtime/parallel.h"

namespace tiller {

namespace {

constexpr int kTrials = 8;
constexpr std::int64_t kRounds = 400'000;                 // near 10 ms a trial
constexpr std::size_t kCopyBytes = std::size_t{1} << 26;  // per thread: larger than any cache share

double seconds_since(std::int64_t begin_ns) {
  return static_cast<double>(now_ns() - begin_ns) * 1e-9;
}

// Seconds that this thread ran: what others took from its core does not count.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double multiply_add_rate() {
  const auto run = Avx512::available() ? ceilings_detail::multiply_add_avx512
                                       : ceilings_detail::multiply_add_avx2;
  std::vector<float> sinks(static_cast<std::size_t>(threads()) * 16);
  std::vector<double> rates(static_cast<std::size_t>(threads()) * 8);
  launch("multiply_add", threads(), [&](std::int64_t thread) {
    const auto i = static_cast<std::size_t>(thread);
    for (int trial = 0; trial < kTrials; ++trial) {
      const double begin = thread_seconds();
      const double flops = run(kRounds, &sinks[i * 16]);
      rates[i * 8] = std::max(rates[i * 8], flops / (thread_seconds() - begin));
    }
  });
  double total = 0;
  for (std::size_t i = 0; i < rates.size(); i += 8) total += rates[i];
  return total;
}

double copy_rate() {
  const auto count = static_cast<std::size_t>(threads());
  const auto from = std::make_unique_for_overwrite<std::byte[]>(count * kCopyBytes);
  const auto to = std::make_unique_for_overwrite<std::byte[]>(count * kCopyBytes);
  launch("touch", threads(), [&](std::int64_t thread) {
    const std::size_t at = static_cast<std::size_t>(thread) * kCopyBytes;
    std::memset(from.get() + at, 1, kCopyBytes);
    std::memset(to.get() + at, 2, kCopyBytes);
  });
  double best = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const std::int64_t begin = now_ns();
    launch("copy", threads(), [&](std::int64_t thread) {
      const std::size_t at = static_cast<std::size_t>(thread) * kCopyBytes;
      std::memcpy(to.get() + at, from.get() + at, kCopyBytes);
    });
    best = std::max(best, 2.0 * static_cast<double>(count * kCopyBytes) / seconds_since(begin));
  }
  return best;
}

}  // namespace

Ceilings measure_ceilings() { return {multiply_add_rate(), copy_rate()}; }

}  // namespace tiller
