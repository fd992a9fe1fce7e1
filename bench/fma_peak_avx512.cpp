#include "bench/ceilings.h"
#include "bench/fma_peak_body.h"

namespace tiller::bench {
double fma_gflops_avx512() { return fma_gflops<16>(); }
}  // namespace tiller::bench
