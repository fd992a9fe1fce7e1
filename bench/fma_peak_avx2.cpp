#include "bench/ceilings.h"
#include "bench/fma_peak_body.h"

namespace tiller::bench {
double fma_gflops_avx2() { return fma_gflops<8>(); }
}  // namespace tiller::bench
