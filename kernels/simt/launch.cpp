// What launch() refuses before it runs anything, on simt as on a GPU.
#include "kernels/simt/launch.h"

#include "runtime/error.h"
#include "runtime/trace.h"

namespace tiller::executor {

void check_launch(const LaunchSpec& spec) {
  const Dim3 &grid = spec.grid, &block = spec.block;
  TILLER_CHECK(block.count() >= 1 && block.count() <= kMaxThreads && block.z <= 64,
               "simt: kernel {}: a block of {}x{}x{} threads; a block has 1 to {}", spec.kernel,
               block.x, block.y, block.z, kMaxThreads);
  TILLER_CHECK(grid.x <= 0x7FFFFFFFu && grid.y <= 65535 && grid.z <= 65535,
               "simt: kernel {}: a grid of {}x{}x{} blocks; y and z go to 65535", spec.kernel,
               grid.x, grid.y, grid.z);
  TILLER_CHECK(spec.shared_bytes <= kMaxSharedBytes,
               "simt: kernel {}: {} bytes of shared memory; sm_89 and sm_120 have {}", spec.kernel,
               spec.shared_bytes, kMaxSharedBytes);
  if (trace_level() >= TraceLevel::launches)
    trace_sink()->on_launch({spec.kernel,
                             {DeviceType::simt, 0},
                             static_cast<std::int64_t>(grid.count()),
                             static_cast<int>(block.count())});
}

}  // namespace tiller::executor
