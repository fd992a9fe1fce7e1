// libFuzzer's entry; TILLER_FUZZ_TARGET names one function of tests/fuzz/targets.h.
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return tiller::fuzz::TILLER_FUZZ_TARGET(data, size);
}
