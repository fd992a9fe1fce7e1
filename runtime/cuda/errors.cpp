#include "runtime/cuda/errors.h"

#include <array>
#include <cstddef>
#include <mutex>
#include <string>

#include "runtime/env.h"
#include "runtime/error.h"

namespace tiller::cuda {

namespace {

struct Launches {
  std::mutex mutex;
  std::array<const char*, 8> last{};  // a ring
  std::size_t count = 0;              // since all was well
};

Launches& launches() {
  static Launches instance;
  return instance;
}

// The errors after which a context is of no more use: a kernel made them.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
      return true;
    default:
      return false;
  }
}

std::string launched_since() {
  Launches& all = launches();
  const std::lock_guard lock(all.mutex);
  std::string names;
  for (std::size_t back = 1; back <= all.count && back <= all.last.size(); ++back)
    names +=
        fmt::format("{}{}", back > 1 ? ", " : "", all.last[(all.count - back) % all.last.size()]);
  return names;
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) [[likely]]
    return;
  if (!is_sticky(status))
    fail(ErrorKind::failed, fmt::format("cuda: {}: {}", what, cudaGetErrorString(status)));
  fail(ErrorKind::failed,
       fmt::format("cuda: a kernel failed, as {} found: {}; the last that were launched, newest "
                   "first: {}{}",
                   what, cudaGetErrorString(status), launched_since(),
                   waits_for_each_kernel() ? "" : "; TILLER_CUDA_SYNC=1 tells which of them"));
}

void note_launch(const char* kernel) {
  Launches& all = launches();
  const std::lock_guard lock(all.mutex);
  all.last[all.count++ % all.last.size()] = kernel;
}

void note_all_well() {
  Launches& all = launches();
  const std::lock_guard lock(all.mutex);
  all.count = 0;
}

bool waits_for_each_kernel() {
  static const bool wanted = environment("TILLER_CUDA_SYNC") == "1";
  return wanted;
}

}  // namespace tiller::cuda
