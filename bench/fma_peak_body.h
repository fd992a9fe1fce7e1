#pragma once
// A multiply-add takes several cycles, so one chain of them shows latency, not throughput: sixteen
// independent chains keep every unit busy.
#include <time.h>

#include <algorithm>

namespace tiller::bench {
namespace {

// Seconds that this thread ran: what other programs took from it does not count.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <int kLanes>
double fma_gflops() {
  typedef float Value __attribute__((vector_size(kLanes * 4)));
  constexpr int kChains = 16, kSteps = 100'000, kBursts = 40;
  Value chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = Value{} + static_cast<float>(i);
  Value factor = Value{} + 0.999f, term = Value{} + 1e-3f;
  double best = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    asm volatile("" : "+x"(factor), "+x"(term));  // not known at compile time
    const double begin = thread_seconds();
    for (int step = 0; step < kSteps; ++step)
#pragma GCC unroll 16
      for (int i = 0; i < kChains; ++i) chain[i] = chain[i] * factor + term;
    const double seconds = thread_seconds() - begin;
    best = std::max(best, 2e-9 * kLanes * kChains * kSteps / seconds);
  }
  for (int i = 0; i < kChains; ++i) asm volatile("" : : "x"(chain[i]));  // the chains are used
  return best;
}

}  // namespace
}  // namespace tiller::bench
