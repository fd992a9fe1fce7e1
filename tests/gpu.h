#pragma once
// Which device stands for the GPU in the tests. The CUDA kernels are compiled twice: for simt, where they
// run thread by thread on any machine, and for the GPU itself, where the same tests run with
// TILLER_TEST_DEVICE=cuda in the environment (ctest -L gpu).
#include <cstdlib>
#include <string_view>

#include "runtime/backend.h"

namespace tiller::test {

inline Device gpu() {
  static const Device device = [] {
    const char* asked = std::getenv("TILLER_TEST_DEVICE");
    return Device{asked && std::string_view(asked) == "cuda" ? DeviceType::cuda : DeviceType::simt,
                  0};
  }();
  return device;
}

/// Why a test did not run where gpu() is not available.
inline const char* no_gpu() {
  return gpu().type == DeviceType::cuda ? "NO GPU HERE: this test did not run"
                                        : "this build has no simt";
}

}  // namespace tiller::test
